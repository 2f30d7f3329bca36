# SPDX-License-Identifier: Apache-2.0
"""What a cluster costs at rest, when it starts again, when it was away, in memory; the simulator.

Each function is a measurement: it starts its own cluster, looks whether what it measures happened,
and returns figures by name or raises RuntimeError.
"""
import contextlib
import json
import os
import re
import signal
import subprocess
import time

from cluster import ROOT, EtcdNodes, KelpNodes, close_all, connections, end, load, settled
from measure import available_bytes, call, cpu_ns, rss_bytes, wait_for, wake_ups
from systems import Redis

LOOK = 0.002  # s between two looks at a node that is starting


def program(name, seconds, nodes):
    """What a program of ours says in its one line."""
    words = [os.path.join(ROOT, "build", "bench", name), "--nodes", str(nodes),
             "--seconds", str(seconds)]
    run = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"status {run.returncode}: {run.stderr.strip()}")
    return json.loads(run.stdout)


# ---- at rest ------------------------------------------------------------------------------------


def at_rest(kind):
    """Processor time and wake-ups of a node nobody asks for anything, leader and follower."""
    def measured(case, folder, options):
        with kind(folder, case.nodes).start() as nodes:
            leader = nodes.leader()
            nodes.level()
            settled(folder)
            terms, pids = nodes.terms(), {i: nodes.pid(i) for i in nodes.numbers}
            began = time.monotonic()
            spent = {i: (cpu_ns(pid), wake_ups(pid)) for i, pid in pids.items()}
            time.sleep(3 if options.quick else 20)
            seconds = time.monotonic() - began
            spent = {i: ((cpu_ns(pid) - spent[i][0]) / 1e9 / seconds * 100,
                         (wake_ups(pid) - spent[i][1]) / seconds) for i, pid in pids.items()}
            if nodes.terms() != terms or nodes.leader() != leader:
                raise RuntimeError("the cluster was not at rest: there was an election")
        others = [spent[i] for i in nodes.numbers if i != leader]
        return {"idle_cpu_percent": max(cpu for cpu, _ in spent.values()),
                "leader_cpu_percent": spent[leader][0], "leader_wakeups": spent[leader][1],
                "follower_cpu_percent": max(cpu for cpu, _ in others),
                "follower_wakeups": max(wakes for _, wakes in others)}
    return measured


REST_OF_KELP, REST_OF_ETCD = at_rest(KelpNodes), at_rest(EtcdNodes)


def bare_heartbeats(case, _folder, options):
    """The same heartbeats between processes that do nothing else."""
    said = program("bench-heartbeats", 3 if options.quick else 20, case.nodes)
    return {"idle_cpu_percent": max(said["leader_cpu_percent"], said["follower_cpu_percent"]),
            **{name: said[name] for name in ("leader_cpu_percent", "leader_wakeups",
                                             "follower_cpu_percent", "follower_wakeups")}}


# ---- started again, and away --------------------------------------------------------------------


def until_applied(nodes, number, index, seconds=600):
    """Seconds until a node that was just started has applied up to index and is well."""
    began = time.monotonic()

    def there():
        if nodes.processes[number].poll() is not None:
            raise RuntimeError(f"node {number} ended while it was starting")
        status = nodes.status(number)
        return status.get("health") == "ok" and int(status["applied_index"]) >= index
    end = began + seconds
    while not there():
        if time.monotonic() > end:
            raise RuntimeError(f"after {seconds} s node {number} has not applied {index} entries")
        time.sleep(LOOK)
    return time.monotonic() - began


def log_bytes(nodes, number):
    folder = os.path.join(nodes.data(number), "log")
    return sum(os.stat(os.path.join(folder, name)).st_size for name in os.listdir(folder))


def restart(case, folder, options):
    """kill -9 of a follower behind a log of many entries; from its start until it has applied all
    of them again."""
    wanted = case.quick_entries if options.quick else case.entries
    with KelpNodes(folder, case.nodes).start() as nodes:
        leader = nodes.leader()
        nodes.write_until(wanted, 1 if options.quick else 5)
        nodes.level()
        number = nodes.followers()[0]
        index, size = nodes.number_of(number, "applied_index"), log_bytes(nodes, number)
        nodes.kill(number)
        nodes.start(number)
        seconds = until_applied(nodes, number, index)
        spent = cpu_ns(nodes.pid(number)) / 1e9
        nodes.level()  # and the states are equal
        if nodes.leader() != leader:
            raise RuntimeError("the leader changed")
        return {"replay_seconds": seconds, "entries": index, "log_mib": size / (1 << 20),
                "entries_per_second": index / seconds, "replay_cpu_seconds": spent,
                "rss_mib": rss_bytes(nodes.pid(number)) / (1 << 20)}


def catch_up(case, folder, options):
    """A follower is away while many entries are written; from its start until it has them all."""
    wanted = case.quick_entries if options.quick else case.entries
    with KelpNodes(folder, case.nodes).start() as nodes:
        leader = nodes.leader()
        nodes.level()
        terms, number = nodes.terms(), nodes.followers()[0]
        away = nodes.number_of(number, "applied_index")
        nodes.kill(number)
        nodes.write_until(wanted, 1 if options.quick else 5)
        index = nodes.number_of(leader, "commit_index")
        nodes.start(number)
        seconds = until_applied(nodes, number, index)
        nodes.level()
        if nodes.terms() != terms:
            raise RuntimeError("there was an election")
        return {"catch_up_seconds": seconds, "entries": index - away,
                "entries_per_second": (index - away) / seconds}


def log_length(case, folder, options):
    """Throughput and processor time an operation, in windows, while the log grows."""
    wanted = case.quick_entries if options.quick else case.entries
    with KelpNodes(folder, case.nodes).start() as nodes:
        leader = nodes.leader()
        nodes.load([leader], clients=64, pipeline=16, value=16, keys=1000, seconds=options.seconds,
                   warm_up=options.warm_up)
        reports = []
        while (index := nodes.number_of(leader, "last_index")) < wanted or len(reports) < 2:
            reports.append(nodes.load([leader], clients=64, pipeline=16, value=16, keys=1000,
                                      seconds=options.seconds, warm_up=0))
        if nodes.leader() != leader or index < sum(r["operations"] for r in reports[:-1]):
            raise RuntimeError(f"the log holds {index} entries; more were acknowledged")
    part = max(1, len(reports) // 4)

    def mean(some, name):
        return sum(r[name] for r in some) / len(some)
    first, last = reports[:part], reports[-part:]
    return {"entries": index, "first_per_second": mean(first, "per_second"),
            "last_per_second": mean(last, "per_second"),
            "last_to_first": mean(last, "per_second") / mean(first, "per_second"),
            "first_cpu_us": mean(first, "cpu_us_per_operation"),
            "last_cpu_us": mean(last, "cpu_us_per_operation")}


# ---- memory -------------------------------------------------------------------------------------


def info(port, name):
    """A number of INFO."""
    found = re.search(rb"\r\n%s:(\d+)" % name.encode(), call(port, "INFO") or b"")
    if found is None:
        raise RuntimeError(f"INFO does not say {name}")
    return int(found.group(1))


@contextlib.contextmanager
def one_kelp(folder):
    """Port and pid of a cluster of one whose log keeps as little in memory as it may."""
    with KelpNodes(folder, 1, cache_bytes=1 << 20, entry_bytes_max=1 << 18).start() as nodes:
        leader = nodes.leader()
        yield nodes.ports[leader], nodes.pid(leader)


@contextlib.contextmanager
def one_redis(folder):
    processes = []
    with open(os.path.join(folder, "log"), "wb") as log:
        try:
            ports, pids = Redis().begin(None, folder, log, processes)
            yield ports[0], pids[0]
        finally:
            end(processes)


def per_connection(one):
    """Resident bytes of a node, a connection that was answered once and is idle."""
    def measured(_case, folder, options):
        count = 1000 if options.quick else 5000
        with one(folder) as (port, pid):
            close_all(connections([port], 64))  # what is made once is there
            before = rss_bytes(pid)
            idle = connections([port], count)
            try:
                if info(port, "connected_clients") < count:
                    raise RuntimeError("not all connections are there")
                grown = rss_bytes(pid) - before
            finally:
                close_all(idle)
            return {"bytes_per_connection": grown / count, "connections": count}
    return measured


def per_key(one):
    """Resident bytes of a node, a key of 22 bytes with a value of 16 (the names of kelp bench)."""
    def measured(_case, folder, options):
        count = 200000 if options.quick else 1000000
        with one(folder) as (port, pid):
            def write(keys):
                load([port], [pid], folder, clients=64, pipeline=16, value=16, keys=keys,
                     fill=True, seconds=0.2, warm_up=0)
            write(1000)
            held, before = dbsize(port), rss_bytes(pid)
            write(count)
            more = dbsize(port) - held
            if more != count - 1000:
                raise RuntimeError(f"{count - 1000} keys were written and {more} came")
            return {"bytes_per_key": (rss_bytes(pid) - before) / more, "keys": more}
    return measured


def dbsize(port):
    return int((call(port, "DBSIZE") or b":-1").strip(b":\r\n"))


def per_entry(case, folder, options):
    """Resident bytes of a leader, an entry of 256 bytes that is not committed: both followers are
    stopped meanwhile, for less than an election timeout, and afterwards all are acknowledged."""
    del options
    count, lanes = 8000, 8
    each, value = count // lanes, b"v" * 256
    request = b"*3\r\n$3\r\nSET\r\n$5\r\nkey:%d\r\n$256\r\n%s\r\n"
    with KelpNodes(folder, case.nodes, requests_max=16384).start() as nodes:
        leader = nodes.leader()
        nodes.level()
        terms, pid = nodes.terms(), nodes.pid(leader)
        stopped = [nodes.processes[i] for i in nodes.followers()]
        lines = connections([nodes.ports[leader]], lanes)
        try:
            for _ in range(8):  # what a connection may have open grows with what it had
                ask(lines, request, value, each)
                acknowledged(lines, each)
            nodes.level()
            before = rss_bytes(pid)
            for p in stopped:
                p.send_signal(signal.SIGSTOP)
            try:
                ask(lines, request, value, each)

                def all_open():
                    s = nodes.status(leader)
                    return s and int(s["last_index"]) - int(s["commit_index"]) >= count
                wait_for(all_open, f"{count} entries are in flight", 5)
                grown = rss_bytes(pid) - before
            finally:
                for p in stopped:
                    p.send_signal(signal.SIGCONT)
            acknowledged(lines, each)
        finally:
            close_all(lines)
        nodes.level()
        if nodes.terms() != terms:
            raise RuntimeError("there was an election")
        return {"bytes_per_entry": grown / count, "entries": count}


def ask(lines, request, value, each):
    for i, line in enumerate(lines):
        line.sendall(request % (i, value) * each)


def acknowledged(lines, each):
    for line in lines:
        wanted, got = b"+OK\r\n" * each, b""
        while len(got) < len(wanted) and (more := line.recv(65536)):
            got += more
        if got != wanted:
            raise RuntimeError("not every entry in flight was acknowledged")


def room_for_keys(case):
    """None, or why so many keys on so many nodes, with the load beside them, have no room."""
    needed = case.keys * (case.nodes * 150 + 16) + case.nodes * (256 << 20)
    free = available_bytes()
    if needed < 0.8 * free:
        return None
    return f"needs about {needed >> 20} MiB of memory, {free >> 20} MiB are free"


# ---- the simulator ------------------------------------------------------------------------------


def simulator(case, _folder, options):
    """Events and simulated seconds a second of one core."""
    said = program("bench-simulator", max(1, round(options.seconds)), case.nodes)
    return {name: said[name] for name in (
        "times_real_time", "per_second", "requests_per_simulated_second",
        "faults_per_simulated_second", "seeds", "version")}
