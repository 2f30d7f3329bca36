// SPDX-License-Identifier: Apache-2.0

// The peer hashicorp/raft with its BoltDB store (Debian's golang-github-hashicorp-raft-dev and
// -raft-boltdb-dev): three processes, load inside the leader.
//
// The parent starts itself once a node, with --node, and speaks to each in JSON lines over its
// standard input and output:
//
//	node -> parent   {"kind":"leads"} "primed" "begin" "end" "measured" "state" "failed"
//	parent -> node   {"kind":"prime"} "run" (leader), {"kind":"report","applied":n} (all)
//
// "prime" applies one command and "report" 1 waits until every node has applied it, so that the load
// meets a cluster whose members are all connected. "run" keeps K goroutines in Apply, each waiting
// for its own future. The parent samples the costs of all nodes at "begin" and "end". "report" n ends
// the run: each node answers when it has applied n commands.
//
// What proves that an operation happened: each command carries its number. Every node folds the
// numbers it applies into a sum (any order) and a chain (this order); the leader sums the numbers
// whose futures said success. Verified means: on every node the count is the count acknowledged, the
// sum is the sum acknowledged, no command had another length, and all chains are equal.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb"

	"peers/measure"
)

var version = "unknown" // of the Debian package, set by the linker

// State is what a node has applied; also its snapshot.
type State struct {
	Count, Sum, Chain uint64
}

type order struct {
	Kind    string
	Applied uint64 // report: answer when so many are applied
}

type news struct {
	Kind      string
	State     State          // state: applied; measured: acknowledged, without a chain
	Malformed uint64         // state: commands of another length than proposed
	Result    measure.Result // measured: all but the costs
	Text      string         // failed
}

// ---- the node ----

type node struct {
	options *measure.Options
	raft    *raft.Raft

	tellLock sync.Mutex
	out      *json.Encoder

	lock      sync.Mutex // the state machine below: the library's goroutine and report
	applied   State
	malformed uint64
	reportAt  uint64 // 0: nobody asked

	proposed, acknowledged, sum uint64 // atomic
}

func (n *node) tell(what news) {
	n.tellLock.Lock()
	defer n.tellLock.Unlock()
	if n.out.Encode(what) != nil {
		os.Exit(1) // without its parent a node has nothing to live for
	}
}

func (n *node) fail(what string, err error) {
	n.tell(news{Kind: "failed", Text: fmt.Sprintf("%s: %v", what, err)})
	os.Exit(1)
}

func (n *node) reportIfDue() {
	if n.reportAt != 0 && n.applied.Count >= n.reportAt {
		n.reportAt = 0
		n.tell(news{Kind: "state", State: n.applied, Malformed: n.malformed})
	}
}

// Apply is the state machine.
func (n *node) Apply(entry *raft.Log) interface{} {
	n.lock.Lock()
	defer n.lock.Unlock()
	if len(entry.Data) != n.options.Value {
		n.malformed++
		return nil
	}
	number := binary.LittleEndian.Uint64(entry.Data)
	n.applied.Count++
	n.applied.Sum += measure.Mixed(number)
	n.applied.Chain = measure.Mixed(n.applied.Chain ^ number)
	n.reportIfDue()
	return nil
}

// Snapshot of the state machine.
func (n *node) Snapshot() (raft.FSMSnapshot, error) {
	n.lock.Lock()
	defer n.lock.Unlock()
	state := n.applied
	return &state, nil
}

// Restore of a snapshot.
func (n *node) Restore(from io.ReadCloser) error {
	defer from.Close()
	var state State
	if err := json.NewDecoder(from).Decode(&state); err != nil {
		return err
	}
	n.lock.Lock()
	defer n.lock.Unlock()
	n.applied = state
	n.reportIfDue()
	return nil
}

// Persist writes a snapshot.
func (s *State) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(s); err != nil {
		return err // the library cancels the sink
	}
	return sink.Close()
}

// Release has nothing to do: a snapshot is a copy.
func (s *State) Release() {}

// apply proposes one command and waits until it is committed and applied here.
func (n *node) apply() {
	number := atomic.AddUint64(&n.proposed, 1)
	command := make([]byte, n.options.Value)
	binary.LittleEndian.PutUint64(command, number)
	if err := n.raft.Apply(command, 0).Error(); err != nil {
		n.fail("a command was not committed", err)
	}
	atomic.AddUint64(&n.acknowledged, 1)
	atomic.AddUint64(&n.sum, measure.Mixed(number))
}

func (n *node) run() {
	var loop measure.Loop
	var open sync.WaitGroup
	for i := 0; i < n.options.InFlight; i++ {
		open.Add(1)
		go func() {
			defer open.Done()
			for {
				begun := time.Now()
				n.apply()
				if !loop.Completed(begun) {
					return
				}
			}
		}()
	}
	ends := []string{"begin", "end"}
	elapsed, err := loop.Conduct(n.options, func() error {
		n.tell(news{Kind: ends[0]})
		ends = ends[1:]
		return nil
	})
	if err != nil {
		n.fail("the window", err)
	}
	open.Wait()
	done := news{Kind: "measured", State: State{Count: n.acknowledged, Sum: n.sum}}
	done.Result.Measured(n.options, &loop, elapsed)
	n.tell(done)
}

func (n *node) open(id int, addresses []string) error {
	log, err := os.Create(filepath.Join(n.options.Dir, fmt.Sprintf("node-%d.log", id)))
	if err != nil {
		return err
	}
	config := raft.DefaultConfig()
	config.LocalID = raft.ServerID(addresses[id-1])
	config.LogOutput = log
	leads := make(chan bool, 16)
	config.NotifyCh = leads
	dir := n.options.NodeDir(id)
	bolt, err := raftboltdb.NewBoltStore(filepath.Join(dir, "raft.db"))
	if err != nil {
		return err
	}
	cache, err := raft.NewLogCache(512, bolt)
	if err != nil {
		return err
	}
	snapshots, err := raft.NewFileSnapshotStore(dir, 2, log)
	if err != nil {
		return err
	}
	self, err := net.ResolveTCPAddr("tcp", addresses[id-1])
	if err != nil {
		return err
	}
	transport, err := raft.NewTCPTransport(addresses[id-1], self, 3, 10*time.Second, log)
	if err != nil {
		return err
	}
	var all raft.Configuration
	for _, address := range addresses {
		all.Servers = append(all.Servers, raft.Server{
			ID: raft.ServerID(address), Address: raft.ServerAddress(address)})
	}
	if err := raft.BootstrapCluster(config, cache, bolt, snapshots, transport, all); err != nil {
		return err
	}
	n.raft, err = raft.NewRaft(config, n, cache, bolt, snapshots, transport)
	if err != nil {
		return err
	}
	go func() {
		for leading := range leads {
			if !leading {
				n.fail("leadership", fmt.Errorf("lost"))
			}
			n.tell(news{Kind: "leads"})
		}
	}()
	return nil
}

func live(options *measure.Options, id int, addresses []string) {
	n := &node{options: options, out: json.NewEncoder(os.Stdout)}
	if err := n.open(id, addresses); err != nil {
		n.fail("the node", err)
	}
	orders := json.NewDecoder(os.Stdin)
	for {
		var what order
		if orders.Decode(&what) != nil {
			os.Exit(1)
		}
		switch what.Kind {
		case "prime":
			n.apply()
			n.tell(news{Kind: "primed"})
		case "run":
			n.run()
		case "report":
			n.lock.Lock()
			n.reportAt = what.Applied
			n.reportIfDue()
			n.lock.Unlock()
		}
	}
}

// ---- the parent ----

type heard struct {
	id int
	news
	err error
}

type cluster struct {
	options  *measure.Options
	commands []*exec.Cmd
	orders   []*json.Encoder
	heard    chan heard
	deadline <-chan time.Time
}

func (c *cluster) start(id int, addresses []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	arguments := append([]string{"--node", fmt.Sprint(id), "--addresses", strings.Join(addresses, ",")},
		os.Args[1:]...)
	command := exec.Command(self, arguments...)
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := command.StdinPipe()
	if err != nil {
		return err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	c.commands = append(c.commands, command)
	c.orders = append(c.orders, json.NewEncoder(in))
	go func() {
		for lines := json.NewDecoder(bufio.NewReader(out)); ; {
			what := heard{id: id}
			what.err = lines.Decode(&what.news)
			c.heard <- what
			if what.err != nil {
				return
			}
		}
	}()
	return nil
}

// stop kills the nodes: what they acknowledged is on their disks, which is the point.
func (c *cluster) stop() {
	for _, command := range c.commands {
		command.Process.Kill()
	}
	for _, command := range c.commands {
		command.Wait()
	}
}

// await gives news of one kind; anything else ends the run.
func (c *cluster) await(kind string) (heard, error) {
	select {
	case <-c.deadline:
		return heard{}, fmt.Errorf("nothing heard before the deadline")
	case what := <-c.heard:
		switch {
		case what.err != nil:
			return what, fmt.Errorf("node %d ended: %v", what.id, what.err)
		case what.Kind == "failed":
			return what, fmt.Errorf("node %d: %s", what.id, what.Text)
		case what.Kind != kind:
			return what, fmt.Errorf("node %d: %s instead of %s", what.id, what.Kind, kind)
		}
		return what, nil
	}
}

// ask sends the leader one order and awaits the answer.
func (c *cluster) ask(id int, kind, answer string) (heard, error) {
	if err := c.orders[id-1].Encode(order{Kind: kind}); err != nil {
		return heard{}, err
	}
	return c.await(answer)
}

func (c *cluster) check(acknowledged State) (bool, error) {
	for _, orders := range c.orders {
		if err := orders.Encode(order{Kind: "report", Applied: acknowledged.Count}); err != nil {
			return false, err
		}
	}
	var first State
	good := true
	for i := range c.orders {
		what, err := c.await("state")
		if err != nil {
			return false, err
		}
		if i == 0 {
			first = what.State
		}
		expected := State{acknowledged.Count, acknowledged.Sum, first.Chain}
		if what.State != expected || what.Malformed != 0 {
			fmt.Fprintf(os.Stderr, "node %d applied %+v, %d malformed; expected %+v\n",
				what.id, what.State, what.Malformed, expected)
			good = false
		}
	}
	return good, nil
}

// measure is one run, from the election to the verdict.
func (c *cluster) measure() (result measure.Result, err error) {
	leads, err := c.await("leads")
	if err != nil {
		return result, err
	}
	if _, err = c.ask(leads.id, "prime", "primed"); err != nil {
		return result, err
	}
	good, err := c.check(State{Count: 1, Sum: measure.Mixed(1)})
	if err != nil {
		return result, err
	}
	if !good {
		return result, fmt.Errorf("the first command is not applied everywhere")
	}
	fmt.Fprintf(os.Stderr, "node %d leads, all %d nodes apply\n", leads.id, len(c.commands))

	var pids []int
	for _, command := range c.commands {
		pids = append(pids, command.Process.Pid)
	}
	if _, err = c.ask(leads.id, "run", "begin"); err != nil {
		return result, err
	}
	begin, err := measure.ReadUsage(pids, c.options.Dir)
	if err != nil {
		return result, err
	}
	if _, err = c.await("end"); err != nil {
		return result, err
	}
	end, err := measure.ReadUsage(pids, c.options.Dir)
	if err != nil {
		return result, err
	}
	done, err := c.await("measured")
	if err != nil {
		return result, err
	}
	result = done.Result
	result.Used(begin, end)
	result.Verified, err = c.check(done.State)
	return result, err
}

func main() {
	runtime.LockOSThread() // the nodes die with the thread that started them
	var options measure.Options
	id := flag.Int("node", 0, "for the program's own use: be this node")
	addresses := flag.String("addresses", "", "for the program's own use: of all nodes")
	options.Parse()
	if *id != 0 {
		live(&options, *id, strings.Split(*addresses, ","))
	}
	fatal := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := options.MakeDirs(); err != nil {
		fatal(err)
	}
	all, err := measure.FreeAddresses(options.Nodes)
	if err != nil {
		fatal(err)
	}
	c := &cluster{options: &options, heard: make(chan heard, 64)}
	c.deadline = time.After(options.WarmUp + options.Window + measure.Patience)
	for i := 1; i <= options.Nodes; i++ {
		if err := c.start(i, all); err != nil {
			c.stop()
			fatal(err)
		}
	}
	result, err := c.measure()
	c.stop()
	if err != nil {
		fatal(err)
	}
	result.System, result.Version = "hashicorp/raft", version
	result.Sync = "fdatasync, two a batch (BoltDB)"
	os.Exit(result.Print())
}
