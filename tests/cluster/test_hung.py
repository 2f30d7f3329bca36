# SPDX-License-Identifier: Apache-2.0
"""A disk that hangs: fdatasync of one node does not return for a while. Its loop goes on all the
same: status, heartbeats, and the way out."""
import os
import signal
import time

import pytest

from kelp import Error, Gone, sanitized, wait_for

HUNG = 3.0  # seconds
STALL = 1.0  # the rule's limit: at twice that a leader steps down


class HungDisks:
    """Nodes whose syncs wait while a file of theirs exists."""

    def __init__(self, cluster, library):
        self.files = {n: os.path.join(cluster.directory, f"hold-{n.id}")
                      for n in cluster.nodes.values()}
        for node, path in self.files.items():
            node.command = self.preloaded(node.command, library, path)
        cluster.start()

    @staticmethod
    def preloaded(command, library, path):
        return lambda: ["env", f"LD_PRELOAD={library}", f"KELP_HOLD_SYNC={path}", *command()]

    def hang(self, node):
        with open(self.files[node], "x", encoding="ascii"):
            pass

    def heal(self, node):
        os.unlink(self.files[node])


@pytest.fixture(scope="session")
def library(program):
    if sanitized(program):
        pytest.skip("a sanitizer's library must be the first that is loaded")
    path = os.path.join(os.path.dirname(program), "unit", "hold_sync.so")
    assert os.path.exists(path), f"{path} is not there; build the tests first"
    return path


def wrote(node, key, value):
    """True: acknowledged; None: refused; False: nobody knows."""
    try:
        with node.raw(timeout=8) as c:
            answer = c.call("SET", key, value)
    except Gone:
        return False
    if isinstance(answer, Error):
        return None if answer.code in ("CLUSTERDOWN", "TRYAGAIN") else False
    return True


def test_a_leader_whose_disk_hangs_goes_on_and_loses_nothing(make_cluster, library):
    cluster = make_cluster(3, start=False)
    disks = HungDisks(cluster, library)
    leader = cluster.wait_leader()
    others = [n for n in cluster.nodes.values() if n is not leader]
    term = leader.number("term")
    acknowledged = {f"before:{i}": str(i) for i in range(50)}
    for key, value in acknowledged.items():
        assert wrote(leader, key, value)
    disks.hang(leader)
    begin = time.monotonic()
    sent = 0
    # Below the limit: the two others are a quorum, the leader's loop answers and beats.
    while time.monotonic() - begin < STALL * 0.8:
        key = f"during:{sent}"
        if wrote(others[sent % 2], key, str(sent)):
            acknowledged[key] = str(sent)
        sent += 1
        status = leader.status()
        assert status is not None, "the hung disk holds the loop"
        if time.monotonic() - begin < STALL * 0.8:
            assert all(n.number("term") == term for n in others), "an election for silence"
    assert any(key.startswith("during") for key in acknowledged), "the quorum did not go on"
    # Past it: another leads, by hand-over or because this one steps down.
    new = wait_for(lambda: next((n for n in others if (n.status() or {}).get("role") == "leader"),
                                None), "another leads", 15)
    after = time.monotonic() - begin
    assert wait_for(lambda: wrote(new, "after", "1"), "it takes writes", 15)
    acknowledged["after"] = "1"
    print(f"{sent} writes while it hung, another led after {after:.2f} s")
    assert leader.status() is not None, "the hung disk holds the loop"
    time.sleep(max(0.0, HUNG - (time.monotonic() - begin)))  # the fault is that long
    disks.heal(leader)
    cluster.wait_equal()
    for node in cluster.nodes.values():
        with node.raw() as c:
            for key, value in acknowledged.items():
                assert c.call("GET", key) == value.encode(), (node.id, key)
    assert "faulted" not in leader.log()


def test_a_node_whose_disk_hangs_obeys_a_signal(make_cluster, library):
    cluster = make_cluster(3, start=False)
    disks = HungDisks(cluster, library)
    leader = cluster.wait_leader()
    disks.hang(leader)
    assert wrote(leader, "pending", "1")  # by the others
    begin = time.monotonic()
    leader.process.send_signal(signal.SIGTERM)
    status = leader.wait_exit(10)
    took = time.monotonic() - begin
    assert status == 1, "it leaves a log that does not finish, and says so"
    assert "the log does not finish" in leader.log() and took < 6, took
    new = cluster.wait_leader(other_than=leader)
    with new.raw() as c:
        assert c.call("GET", "pending") == b"1"
    disks.heal(leader)
    leader.start()
    cluster.wait_equal()
