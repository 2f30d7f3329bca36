# SPDX-License-Identifier: Apache-2.0
"""What one operation costs in counts that no machine changes: syncs, system calls, wake-ups,
allocations and bytes copied, summed over the three nodes, from a preloaded library
(bench/counts.c).

The bounds stand in bench/bounds.json, above what was counted when they were set by about a quarter;
a change that needs more says why and moves them. Beside them stands what a right answer cannot do
without: a SET that is answered is synced on two nodes of three. Heartbeats are rare here, so that a
slow machine, which has more of them an operation, counts the same.
"""
import contextlib
import json
import os
import struct
import subprocess

import pytest

from kelp import encode, sanitized, wait_for

NAMES = ("syncs", "file_writes", "socket_writes", "reads", "polls", "wakes", "signals", "sleeps",
         "allocations", "copied_bytes")
VALUE = 256
KEYS = 10
TOGETHER = 64
FAR_BELOW = 0.6  # of a bound: it should be brought down
RARE = 0.1  # what housekeeping may add to an operation now and then

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
with open(os.path.join(ROOT, "bench", "bounds.json"), encoding="utf-8") as bounds_file:
    BOUNDS = json.load(bounds_file)["cluster"]


def library_of(program):
    library = os.path.join(os.path.dirname(program), "bench", "libcounts.so")
    assert os.path.exists(library), f"{library} is not there; build the target benches"
    return library


class Counted:
    """A cluster whose nodes count."""

    def __init__(self, make_cluster, program, folder, monkeypatch):
        self.folder = str(folder)
        monkeypatch.setenv("KELP_COUNTS", self.folder)
        monkeypatch.setenv("LD_PRELOAD", library_of(program))
        self.cluster = make_cluster(3, heartbeat_ms=400, election_ms=2000)
        monkeypatch.delenv("LD_PRELOAD")
        self.leader = self.cluster.wait_leader()

    def now(self):
        sums = [0] * len(NAMES)
        for node in self.cluster.nodes.values():
            with open(os.path.join(self.folder, str(node.process.pid)), "rb") as f:
                numbers = struct.unpack(f"={len(NAMES)}Q", f.read())
            sums = [a + b for a, b in zip(sums, numbers)]
        return dict(zip(NAMES, sums))

    def each(self, work, operations):
        """Counts per operation of what work does, once all nodes have done all of it."""
        self.cluster.wait_equal()
        before = self.now()
        work()
        self.cluster.wait_equal()  # the followers' share belongs to it; asking is a few calls, once
        after = self.now()
        return {name: (after[name] - before[name]) / operations for name in NAMES}

    @contextlib.contextmanager
    def held(self):
        """The leader stands still meanwhile: what comes in is there at once when it goes on."""
        self.leader.pause()
        try:
            wait_for(self.stands, "the leader stands still")
            yield
        finally:
            self.leader.resume()

    def stands(self):
        with open(f"/proc/{self.leader.process.pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "T"


@pytest.fixture
def counted(make_cluster, program, tmp_path, monkeypatch):
    if sanitized(program):
        pytest.skip("a sanitizer has to come first itself")
    folder = tmp_path / "counts"
    folder.mkdir()
    return Counted(make_cluster, program, folder, monkeypatch)


def within(case, found):
    print(f"{case}: " + "  ".join(f"{name} {value:.3f}" for name, value in found.items()))
    bound = BOUNDS[case]
    for name, most in bound["most"].items():
        # what a save costs on a slow disk, which the machine that counts need not have
        hidden = name in bound.get("slow_disk", [])
        if found[name] < most * FAR_BELOW - RARE and not hidden:
            print(f"{case}: {name} {found[name]:.3f} is far below the bound {most}; bring it down")
    for name, least in bound["least"].items():
        assert found[name] >= least, f"{case}: {name} {found[name]:.3f} cannot be: under {least}"
    for name, most in bound["most"].items():
        assert found[name] <= most, f"{case}: {name} {found[name]:.3f}, at most {most}"


def words_of(verb, number):
    key = f"key{number % KEYS}"
    return (verb, key, "v" * VALUE) if verb == "SET" else (verb, key)


def right(verb, answer):
    return answer == "OK" if verb == "SET" else answer == b"v" * VALUE


def write_all_keys(connection):
    for number in range(KEYS):
        assert connection.call(*words_of("SET", number)) == "OK"


@pytest.mark.parametrize("verb", ["SET", "GET"])
def test_one_at_a_time_costs_so_much(counted, verb):
    count = 300
    with counted.leader.raw() as c:
        write_all_keys(c)

        def work():
            for i in range(count):
                assert right(verb, c.call(*words_of(verb, i)))
        within(f"{verb} one at a time", counted.each(work, count))


@pytest.mark.parametrize("verb", ["SET", "GET"])
def test_sixty_four_pipelined_share_it(counted, verb):
    rounds = 30
    with counted.leader.raw() as c:
        write_all_keys(c)

        def work():
            for _ in range(rounds):
                c.send_bytes(b"".join(encode(*words_of(verb, i)) for i in range(TOGETHER)))
                assert all(right(verb, c.read()) for _ in range(TOGETHER))
        within(f"{verb} 64 pipelined", counted.each(work, TOGETHER * rounds))


@pytest.mark.parametrize("verb", ["SET", "GET"])
def test_sixty_four_connections_share_all_but_their_own_calls(counted, verb):
    rounds = 10
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(counted.leader.raw()) for _ in range(TOGETHER)]
        write_all_keys(connections[0])

        def work():
            for _ in range(rounds):
                with counted.held():
                    for i, c in enumerate(connections):
                        c.send(*words_of(verb, i))
                assert all(right(verb, c.read()) for c in connections)
        work()  # buffers of connections are made at their first request
        within(f"{verb} of 64 connections", counted.each(work, TOGETHER * rounds))


def test_a_large_value_is_copied_so_many_times(counted):
    count, size = 30, 100_000

    def work():
        with counted.leader.raw() as c:
            for _ in range(count):
                assert c.call("SET", "large", "v" * size) == "OK"
    found = counted.each(work, count)
    found["copied_bytes"] /= size
    within("SET of 100,000 bytes", found)


@pytest.mark.parametrize("in_flight", [1, TOGETHER])
def test_the_library_alone_costs_so_much(program, tmp_path, in_flight):
    if sanitized(program):
        pytest.skip("a sanitizer has to come first itself")
    bench = os.path.join(os.path.dirname(program), "bench", "bench-kelp")
    assert os.path.exists(bench), f"{bench} is not there; build the target benches"
    done = subprocess.run(
        [bench, "--dir", str(tmp_path / "nodes"), "--in-flight", str(in_flight),
         "--warm-up", "0.3", "--seconds", "1"],
        env=dict(os.environ, KELP_COUNTS=str(tmp_path), LD_PRELOAD=library_of(program)),
        capture_output=True, text=True, timeout=120, check=True)
    result = json.loads(done.stdout)
    assert result["verified"]
    counts = result["counts_per_operation"]
    assert tuple(counts) == NAMES
    within(f"library, {in_flight} in flight", counts)
