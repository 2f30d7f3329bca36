// SPDX-License-Identifier: Apache-2.0

// The peer etcd (Debian's etcd-server): three servers, load from this process through etcd's own Go
// client (golang-etcd-server-dev), all of it to the leader.
//
// The load is K goroutines, each with one Put open at a time, over min(K, 100) connections: as many
// as etcd's own benchmark takes for its throughput figures. Keys are drawn evenly from 10,000. The
// servers are etcd as it comes: only addresses, names and directories are given to them.
//
// What proves that an operation happened: the store's revision grows by one with each Put, and the
// answer to a Put names its revision. Verified means: the revisions answered are 2..n+1, each once
// (their count and their mixed sum); every member, asked for what it holds itself, is at revision
// n+1; the versions of all keys it holds add up to n; and all members give one hash of everything
// they hold at that revision.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/etcd/clientv3"

	"peers/measure"
)

const (
	keys           = 10000
	keyPrefix      = "key:"
	connectionsMax = 100
	askAgain       = 10 * time.Millisecond // outside the window only; etcd has no event for it
)

type server struct {
	command *exec.Cmd
	client  *clientv3.Client // to this member alone
	url     string
}

type cluster struct {
	options *measure.Options
	servers []*server
	ctx     context.Context // ends with the deadline or with a server
	cancel  context.CancelFunc
	stopped int32          // atomic: from now on servers may end
	ended   sync.WaitGroup // of the servers

	proposed, acknowledged, revisions uint64 // atomic; revisions: mixed and added
	failure                           atomic.Value
}

func (c *cluster) start(id int, addresses []string) error {
	var all []string
	for i := 1; i <= c.options.Nodes; i++ {
		all = append(all, fmt.Sprintf("n%d=http://%s", i, addresses[c.options.Nodes+i-1]))
	}
	log, err := os.Create(filepath.Join(c.options.Dir, fmt.Sprintf("node-%d.log", id)))
	if err != nil {
		return err
	}
	defer log.Close()
	client, peer := "http://"+addresses[id-1], "http://"+addresses[c.options.Nodes+id-1]
	command := exec.Command("etcd", "--name", fmt.Sprintf("n%d", id),
		"--data-dir", c.options.NodeDir(id),
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", strings.Join(all, ","), "--initial-cluster-state", "new")
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	command.Env = os.Environ()
	if runtime.GOARCH != "amd64" {
		command.Env = append(command.Env, "ETCD_UNSUPPORTED_ARCH="+runtime.GOARCH)
	}
	if err := command.Start(); err != nil {
		return err
	}
	this := &server{command: command, url: client}
	c.servers = append(c.servers, this)
	c.ended.Add(1)
	go func() {
		defer c.ended.Done()
		err := command.Wait()
		if atomic.LoadInt32(&c.stopped) == 0 {
			c.fail(fmt.Errorf("etcd %d ended: %v; see %s", id, err, log.Name()))
		}
	}()
	this.client, err = clientv3.New(clientv3.Config{Endpoints: []string{client}})
	return err
}

// fail keeps the first failure and ends everything that waits.
func (c *cluster) fail(err error) {
	c.failure.CompareAndSwap(nil, err.Error())
	c.cancel()
}

func (c *cluster) stop() {
	atomic.StoreInt32(&c.stopped, 1)
	for _, server := range c.servers {
		server.command.Process.Kill()
	}
	c.ended.Wait()
}

// until asks again and again whether something is so, until the deadline.
func (c *cluster) until(what string, so func() (bool, error)) error {
	for {
		good, err := so()
		if good {
			return nil
		}
		select {
		case <-c.ctx.Done():
			return fmt.Errorf("%s: not before the deadline (%v)", what, err)
		case <-time.After(askAgain):
		}
	}
}

// leader waits until all members name the same one.
func (c *cluster) leader() (leader *server, release string, err error) {
	err = c.until("an election", func() (bool, error) {
		var named uint64
		leader = nil
		for _, server := range c.servers {
			ctx, cancel := context.WithTimeout(c.ctx, time.Second)
			status, err := server.client.Status(ctx, server.url)
			cancel()
			if err != nil {
				return false, err
			}
			if named == 0 {
				named = status.Leader
			}
			if status.Leader == 0 || status.Leader != named {
				return false, nil
			}
			if status.Header.MemberId == named {
				leader, release = server, status.Version
			}
		}
		return leader != nil, nil
	})
	return leader, release, err
}

// put is one operation, acknowledged.
func (c *cluster) put(client *clientv3.Client) error {
	number := atomic.AddUint64(&c.proposed, 1)
	value := make([]byte, c.options.Value)
	binary.LittleEndian.PutUint64(value, number)
	key := fmt.Sprintf(keyPrefix+"%012d", measure.Mixed(number)%keys)
	answer, err := client.Put(c.ctx, key, string(value))
	if err != nil {
		return fmt.Errorf("a Put was not committed: %w", err)
	}
	atomic.AddUint64(&c.acknowledged, 1)
	atomic.AddUint64(&c.revisions, measure.Mixed(uint64(answer.Header.Revision)))
	return nil
}

func (c *cluster) load(loop *measure.Loop, clients []*clientv3.Client) *sync.WaitGroup {
	var open sync.WaitGroup
	for i := 0; i < c.options.InFlight; i++ {
		client := clients[i%len(clients)]
		open.Add(1)
		go func() {
			defer open.Done()
			for {
				begun := time.Now()
				if err := c.put(client); err != nil {
					c.fail(err)
					return
				}
				if !loop.Completed(begun) {
					return
				}
			}
		}()
	}
	return &open
}

// reached waits until a member holds the revision and says at which one it then is.
func (c *cluster) reached(server *server, revision int64) (at int64, err error) {
	err = c.until(fmt.Sprintf("revision %d at %s", revision, server.url), func() (bool, error) {
		answer, err := server.client.Get(c.ctx, keyPrefix, clientv3.WithSerializable())
		if err != nil {
			return false, err
		}
		at = answer.Header.Revision
		return at >= revision, nil
	})
	return at, err
}

func (c *cluster) check() (bool, error) {
	count := c.acknowledged
	revision := int64(count) + 1 // an empty store is at revision 1
	var expected uint64
	for i := int64(2); i <= revision; i++ {
		expected += measure.Mixed(uint64(i))
	}
	good := true
	wrong := func(format string, arguments ...interface{}) {
		fmt.Fprintf(os.Stderr, format+"\n", arguments...)
		good = false
	}
	if c.revisions != expected {
		wrong("the %d Puts acknowledged were not answered with revisions 2..%d", count, revision)
	}
	var hash uint32
	for i, server := range c.servers {
		at, err := c.reached(server, revision)
		if err != nil {
			return false, err
		}
		all, err := server.client.Get(c.ctx, keyPrefix, clientv3.WithPrefix(),
			clientv3.WithSerializable(), clientv3.WithKeysOnly())
		if err != nil {
			return false, err
		}
		var versions uint64
		for _, pair := range all.Kvs {
			versions += uint64(pair.Version)
		}
		if at != revision || versions != count {
			wrong("%s is at revision %d and holds %d versions; acknowledged were %d Puts, from revision 2",
				server.url, at, versions, count)
		}
		hashed, err := server.client.HashKV(c.ctx, server.url, revision)
		if err != nil {
			return false, err
		}
		if i == 0 {
			hash = hashed.Hash
		}
		if hashed.Hash != hash {
			wrong("%s hashes to %08x, %s to %08x", server.url, hashed.Hash, c.servers[0].url, hash)
		}
	}
	return good, nil
}

func (c *cluster) measure() (result measure.Result, err error) {
	leader, release, err := c.leader()
	if err != nil {
		return result, err
	}
	if err := c.put(leader.client); err != nil {
		return result, err
	}
	var pids []int
	for _, server := range c.servers {
		if _, err := c.reached(server, 2); err != nil {
			return result, err
		}
		pids = append(pids, server.command.Process.Pid)
	}
	fmt.Fprintf(os.Stderr, "%s leads, all %d members apply\n", leader.url, len(c.servers))

	var clients []*clientv3.Client
	for len(clients) < c.options.InFlight && len(clients) < connectionsMax {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{leader.url}})
		if err != nil {
			return result, err
		}
		clients = append(clients, client)
	}
	var loop measure.Loop
	var servers, self []measure.Usage
	open := c.load(&loop, clients)
	elapsed, err := loop.Conduct(c.options, func() error {
		used, err := measure.ReadUsage(pids, c.options.Dir)
		if err != nil {
			return err
		}
		own, err := measure.ReadUsage([]int{os.Getpid()}, c.options.Dir)
		servers, self = append(servers, used), append(self, own)
		return err
	})
	if err != nil {
		return result, err
	}
	open.Wait()
	if c.ctx.Err() != nil {
		return result, c.ctx.Err()
	}
	after, _, err := c.leader()
	if err != nil {
		return result, err
	}
	if after != leader {
		return result, fmt.Errorf("the leader changed to %s", after.url)
	}
	result.System, result.Version = "etcd", release
	result.Sync = "fdatasync (WAL)"
	result.Measured(c.options, &loop, elapsed)
	result.Used(servers[0], servers[1])
	result.Load(self[0], self[1])
	result.Connections, result.Keys = len(clients), keys
	result.Verified, err = c.check()
	return result, err
}

func main() {
	runtime.LockOSThread() // the servers die with the thread that started them
	var options measure.Options
	options.Parse()
	fatal := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := options.MakeDirs(); err != nil {
		fatal(err)
	}
	addresses, err := measure.FreeAddresses(2 * options.Nodes)
	if err != nil {
		fatal(err)
	}
	c := &cluster{options: &options}
	c.ctx, c.cancel = context.WithTimeout(context.Background(),
		options.WarmUp+options.Window+measure.Patience)
	for id := 1; id <= options.Nodes; id++ {
		if err := c.start(id, addresses); err != nil {
			c.stop()
			fatal(err)
		}
	}
	result, err := c.measure()
	if failure := c.failure.Load(); failure != nil {
		err = fmt.Errorf("%v", failure) // what came first, not what followed from it
	}
	c.stop()
	if err != nil {
		fatal(err)
	}
	os.Exit(result.Print())
}
