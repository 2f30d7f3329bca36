// SPDX-License-Identifier: Apache-2.0

// Package measure is what the Go drivers of peers do alike: arguments, histogram, costs, the JSON
// line. The C driver has the same in ../measure.c: same options, same buckets, same names in the
// result, so that a line of one can stand beside a line of the other. Nothing here knows which
// system is measured.
package measure

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"math/bits"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Patience is how long everything but the warm-up and the window may take together.
const Patience = 60 * time.Second

// Options are the common arguments.
type Options struct {
	Nodes, InFlight, Value int
	Window, WarmUp         time.Duration
	Dir                    string
}

// Parse reads the command line of a driver and ends the program with 2 when it is wrong. A driver
// may have declared arguments of its own before.
func (o *Options) Parse() {
	flag.IntVar(&o.Nodes, "nodes", 3, "processes, 1..9")
	flag.IntVar(&o.InFlight, "in-flight", 0, "operations open at once, 1..100000")
	flag.IntVar(&o.Value, "value", 0, "bytes of a value, 8..8388608")
	flag.StringVar(&o.Dir, "dir", "", "where node-N are made; none may be there yet")
	seconds := flag.Float64("seconds", 0, "length of the window")
	warmUp := flag.Float64("warm-up", 0, "seconds of load before the window")
	flag.Parse()
	wrong := func(name string, value interface{}, limits string) {
		fmt.Fprintf(os.Stderr, "--%s is %v; it must be %s\n", name, value, limits)
		os.Exit(2)
	}
	switch {
	case flag.NArg() != 0:
		fmt.Fprintf(os.Stderr, "%s: no such argument\n", flag.Arg(0))
		os.Exit(2)
	case o.Nodes < 1 || o.Nodes > 9:
		wrong("nodes", o.Nodes, "1..9")
	case o.InFlight < 1 || o.InFlight > 100000:
		wrong("in-flight", o.InFlight, "1..100000")
	case o.Value < 8 || o.Value > 8<<20:
		wrong("value", o.Value, "8..8388608")
	case !(*seconds >= 0.001 && *seconds <= 86400):
		wrong("seconds", *seconds, "0.001..86400")
	case !(*warmUp >= 0 && *warmUp <= 86400):
		wrong("warm-up", *warmUp, "0..86400")
	case o.Dir == "":
		wrong("dir", "missing", "a directory")
	}
	o.Window = time.Duration(*seconds * float64(time.Second))
	o.WarmUp = time.Duration(*warmUp * float64(time.Second))
}

// NodeDir is the data directory of node 1..Nodes.
func (o *Options) NodeDir(id int) string {
	return filepath.Join(o.Dir, fmt.Sprintf("node-%d", id))
}

// MakeDirs makes them all; one that is there already would bring an old log into the run.
func (o *Options) MakeDirs() error {
	if err := os.Mkdir(o.Dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for id := 1; id <= o.Nodes; id++ {
		if err := os.Mkdir(o.NodeDir(id), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// FreeAddresses gives ports that are free now: all are held at once, so that they differ.
func FreeAddresses(count int) ([]string, error) {
	addresses := make([]string, 0, count)
	for i := 0; i < count; i++ {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}

// Mixed spreads a number over 64 bits; sums of it stand for sets of numbers.
func Mixed(number uint64) uint64 {
	number = (number ^ number>>30) * 0xbf58476d1ce4e5b9
	number = (number ^ number>>27) * 0x94d049bb133111eb
	return number ^ number>>31
}

// ---- histogram ----

const (
	subBits = 7 // 128 buckets for each power of two: at most 0.8 % too high, never too low
	buckets = (64 - subBits + 1) << subBits
)

// Histogram of latencies; any goroutine may record.
type Histogram struct {
	count, max uint64
	buckets    [buckets]uint64
}

func bucketOf(ns uint64) int {
	if ns < 1<<subBits {
		return int(ns)
	}
	shift := bits.Len64(ns) - 1 - subBits
	return shift<<subBits + int(ns>>uint(shift))
}

func bucketTop(bucket int) uint64 {
	if bucket < 2<<subBits {
		return uint64(bucket)
	}
	shift := uint(bucket>>subBits) - 1
	return (uint64(bucket)-uint64(shift)<<subBits)<<shift + (1<<shift - 1)
}

// Record counts one latency.
func (h *Histogram) Record(latency time.Duration) {
	ns := uint64(latency)
	atomic.AddUint64(&h.buckets[bucketOf(ns)], 1)
	atomic.AddUint64(&h.count, 1)
	for {
		max := atomic.LoadUint64(&h.max)
		if ns <= max || atomic.CompareAndSwapUint64(&h.max, max, ns) {
			return
		}
	}
}

// Microseconds that the share of all latencies did not exceed; nobody may be recording.
func (h *Histogram) Microseconds(share float64) float64 {
	var below uint64
	for i := range h.buckets {
		below += h.buckets[i]
		if below != 0 && float64(below) >= share*float64(h.count) {
			top := bucketTop(i)
			if top > h.max {
				top = h.max
			}
			return float64(top) / 1e3
		}
	}
	return 0
}

// ---- costs ----

// Usage is what a set of processes has used since they started, and the disk since the machine did.
// It is read from outside the processes, so that a library in a node and a server we did not write
// are measured in one way.
type Usage struct {
	CPU             time.Duration // user and system, all threads
	ContextSwitches uint64        // voluntary and not, of the threads alive now
	DeviceFlushes   uint64        // of the whole disk under the directory, whoever asked for them
	FlushesKnown    bool          // false: no block device under the directory
}

// ReadUsage takes one sample over all pids.
func ReadUsage(pids []int, dir string) (Usage, error) {
	var usage Usage
	for _, pid := range pids {
		var cpu unix.Timespec
		// the CPU clock of another process, as clock_getcpuclockid(3) makes it
		if err := unix.ClockGettime(int32(^pid<<3|2), &cpu); err != nil {
			return usage, fmt.Errorf("the CPU clock of process %d: %w", pid, err)
		}
		usage.CPU += time.Duration(cpu.Nano())
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil {
			return usage, err
		}
		for _, thread := range threads {
			usage.ContextSwitches += threadSwitches(thread)
		}
	}
	return usage, usage.readFlushes(dir)
}

// threadSwitches is 0 for a thread that has ended meanwhile: it counts no more.
func threadSwitches(path string) (switches uint64) {
	file, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name == "voluntary_ctxt_switches" || name == "nonvoluntary_ctxt_switches" {
			count, _ := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			switches += count
		}
	}
	return switches
}

// The 16th number of a disk's stat counts its flushes; only the whole disk has it, so a partition
// asks its parent. A file system without a disk (tmpfs, overlay) has none.
func (u *Usage) readFlushes(dir string) error {
	var at syscall.Stat_t
	if err := syscall.Stat(dir, &at); err != nil {
		return err
	}
	device := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(at.Dev), unix.Minor(at.Dev))
	if _, err := os.Stat(device + "/partition"); err == nil {
		device += "/.."
	}
	text, err := os.ReadFile(device + "/stat")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if numbers := strings.Fields(string(text)); len(numbers) >= 16 {
		u.DeviceFlushes, err = strconv.ParseUint(numbers[15], 10, 64)
		u.FlushesKnown = err == nil
	}
	return err
}

// ---- the closed loop ----

// Loop keeps operations open and measures a window of them. Those that complete inside the window
// count, with their whole latency; those after it only for the verdict.
type Loop struct {
	phase     int32 // 0 warming, 1 measuring, 2 over
	Histogram Histogram
}

// Completed records one operation and says whether to begin another.
func (l *Loop) Completed(begun time.Time) bool {
	switch atomic.LoadInt32(&l.phase) {
	case 1:
		l.Histogram.Record(time.Since(begun))
		return true
	case 2:
		return false
	}
	return true
}

// Conduct opens and closes the window, calling sample at both ends, and gives its length.
func (l *Loop) Conduct(options *Options, sample func() error) (time.Duration, error) {
	time.Sleep(options.WarmUp) // the length of a measurement, not a wait for anything
	if err := sample(); err != nil {
		return 0, err
	}
	begin := time.Now()
	atomic.StoreInt32(&l.phase, 1)
	time.Sleep(options.Window)
	atomic.StoreInt32(&l.phase, 2)
	elapsed := time.Since(begin)
	return elapsed, sample()
}

// ---- the result ----

// Result is the JSON line.
type Result struct {
	System          string   `json:"system"`
	Version         string   `json:"version"`
	Nodes           int      `json:"nodes"`
	InFlight        int      `json:"in_flight"`
	Value           int      `json:"value"`
	Seconds         float64  `json:"seconds"`
	Operations      uint64   `json:"operations"`
	P50             float64  `json:"p50_us"`
	P90             float64  `json:"p90_us"`
	P99             float64  `json:"p99_us"`
	P999            float64  `json:"p999_us"`
	Max             float64  `json:"max_us"`
	CPU             float64  `json:"cpu_us_per_operation"`
	ContextSwitches float64  `json:"context_switches_per_operation"`
	DeviceFlushes   *float64 `json:"device_flushes_per_operation,omitempty"`
	Connections     int      `json:"connections,omitempty"`
	Keys            int      `json:"keys,omitempty"`
	LoadCPU         *float64 `json:"load_cpu_us_per_operation,omitempty"`
	Sync            string   `json:"sync"`
	Verified        bool     `json:"verified"`
}

func rounded(value float64, places int) float64 {
	unit := math.Pow10(places)
	return math.Round(value*unit) / unit
}

// Measured fills in what the loop saw.
func (r *Result) Measured(options *Options, loop *Loop, elapsed time.Duration) {
	h := &loop.Histogram
	r.Nodes, r.InFlight, r.Value = options.Nodes, options.InFlight, options.Value
	r.Seconds, r.Operations = rounded(elapsed.Seconds(), 6), h.count
	r.P50, r.P90 = rounded(h.Microseconds(0.5), 1), rounded(h.Microseconds(0.9), 1)
	r.P99, r.P999 = rounded(h.Microseconds(0.99), 1), rounded(h.Microseconds(0.999), 1)
	r.Max = rounded(float64(h.max)/1e3, 1)
}

// Used fills in the costs between two samples.
func (r *Result) Used(begin, end Usage) {
	operations := math.Max(float64(r.Operations), 1)
	r.CPU = rounded(float64(end.CPU-begin.CPU)/1e3/operations, 3)
	switches := float64(end.ContextSwitches - begin.ContextSwitches)
	r.ContextSwitches = rounded(switches/operations, 3)
	if begin.FlushesKnown && end.FlushesKnown {
		flushes := rounded(float64(end.DeviceFlushes-begin.DeviceFlushes)/operations, 3)
		r.DeviceFlushes = &flushes
	}
}

// Load fills in what the load cost where it is not inside a server.
func (r *Result) Load(begin, end Usage) {
	cost := rounded(float64(end.CPU-begin.CPU)/1e3/math.Max(float64(r.Operations), 1), 3)
	r.LoadCPU = &cost
}

// Print writes the one line and gives the exit status.
func (r *Result) Print() int {
	line, err := json.Marshal(r)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(string(line))
	if !r.Verified {
		return 1
	}
	return 0
}
