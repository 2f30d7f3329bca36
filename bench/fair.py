# SPDX-License-Identifier: Apache-2.0
"""Does it stay fair: many clients, segments that roll, a follower that is slow, a flood.

Each function is a measurement: it starts its own cluster, looks whether what it measures happened,
and returns figures by name or raises RuntimeError. What is compared runs on one cluster, in turn.
"""
import signal
import socket
import statistics
import threading

from cluster import KelpNodes
from measure import call

STOPPED, RUNNING = 0.099, 0.001  # s: a hundredth of the time
TURNS = 2  # of what is compared
LATENCIES = ("p99_us", "p999_us", "max_us", "per_second")


def segments_roll(case, folder, options):
    """Latency at 64 clients while the log goes from segment to segment."""
    settings = {"segment_bytes": 1 << 20} if options.quick else {}
    with KelpNodes(folder, case.nodes, **settings).start() as nodes:
        leader = nodes.leader()
        nodes.load([leader], clients=64, value=case.value, seconds=options.warm_up, warm_up=0)
        before = {i: nodes.segments(i) for i in nodes.numbers}
        said = nodes.load([leader], clients=64, value=case.value, warm_up=0,
                          seconds=float(options.seconds if options.quick else 5 * options.seconds))
        rolled = min(len(nodes.segments(i) - before[i]) for i in nodes.numbers)
        if nodes.leader() != leader:
            raise RuntimeError("the leader changed")
        if rolled < 2:
            raise RuntimeError(f"{rolled} segments were begun by the slowest node; two must be")
        return {**{name: said[name] for name in LATENCIES}, "segments": rolled}


def more_clients(_case, folder, options):
    """1000 clients beside 64."""
    with KelpNodes(folder, 3).start() as nodes:
        leader, reports = nodes.leader(), {64: [], 1000: []}
        for _ in range(TURNS):
            for clients, found in reports.items():
                found.append(nodes.load([leader], clients=clients, seconds=float(options.seconds),
                                        warm_up=options.warm_up))
        if nodes.leader() != leader:
            raise RuntimeError("the leader changed")
    few, many = ([r["per_second"] for r in reports[n]] for n in (64, 1000))
    return {"per_second_64": statistics.mean(few), "per_second_1000": statistics.mean(many),
            "many_to_few": statistics.mean(many) / statistics.mean(few),
            "p99_us_1000": max(r["p99_us"] for r in reports[1000])}


class Slowed:
    """A process that runs for a millisecond in a hundred."""

    def __init__(self, process):
        self.process, self.over = process, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.over.is_set():
            self.process.send_signal(signal.SIGSTOP)
            self.over.wait(STOPPED)
            self.process.send_signal(signal.SIGCONT)
            self.over.wait(RUNNING)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.process.send_signal(signal.SIGCONT)


def slow_follower(_case, folder, options):
    """Throughput with one of three slowed a hundredfold beside that with all of them."""
    with KelpNodes(folder, 3).start() as nodes:
        leader, number = nodes.leader(), nodes.followers()[0]
        terms, all_well, one_slow, behind = nodes.terms(), [], [], 0

        def one_load():
            return nodes.load([leader], clients=64, seconds=float(options.seconds),
                              warm_up=options.warm_up)
        for _ in range(TURNS):
            all_well.append(one_load())
            nodes.level()
            with Slowed(nodes.processes[number]):
                one_slow.append(one_load())
                status = nodes.status(leader).get(f"peer_{number}", "")
                fields = dict(pair.split("=", 1) for pair in status.split(","))
                behind = max(behind, int(fields["lag"]))
            nodes.level()
        if nodes.terms() != terms:
            raise RuntimeError("there was an election")
        if behind == 0:
            raise RuntimeError("the follower was never behind")
    well, slow = (statistics.mean(r["per_second"] for r in some) for some in (all_well, one_slow))
    return {"per_second_well": well, "per_second_slow": slow, "slow_to_well": slow / well,
            "p99_us_slow": max(r["p99_us"] for r in one_slow), "behind": behind}


class Deaf:
    """A client that asks for large values and takes none of the answers."""

    def __init__(self, port, value_bytes):
        self.port = port
        if call(port, "SET", "deaf", "d" * value_bytes) != b"+OK\r\n":
            raise RuntimeError("the value to be read was not written")
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.sendall(b"*2\r\n$3\r\nGET\r\n$4\r\ndeaf\r\n" * 512)

    def check(self):
        """An error if there is no answer to be taken, or nobody to give it."""
        if not self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
            raise RuntimeError("the client that does not read was disconnected")


def flood(_case, folder, options):
    """Terms, under pipelined values of 64 KiB and a client that does not read."""
    with KelpNodes(folder, 3).start() as nodes:
        leader = nodes.leader()
        nodes.level()
        before, deaf = nodes.terms(), Deaf(nodes.ports[leader], 64 << 10)
        try:
            said = nodes.load([leader], clients=32, pipeline=16, value=64 << 10, keys=512,
                              seconds=float(2 * options.seconds), warm_up=options.warm_up)
            deaf.check()
        finally:
            deaf.socket.close()
        nodes.level()
        after = nodes.terms()
    return {"term_changes": max(after) - min(before), "p99_us": said["p99_us"],
            "mib_per_second": said["per_second"] * (64 << 10) / (1 << 20)}
