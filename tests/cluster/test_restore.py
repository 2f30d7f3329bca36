# SPDX-License-Identifier: Apache-2.0
"""A snapshot's file in the place of a cluster's state: real processes, real clients, leaders that
are killed in each phase."""
import glob
import json
import os
import secrets
import subprocess
import threading
import time

import pytest

from kelp import Error, Gone, wait_for
from test_snapshot import damage, fill, snapshots

QUIET = {"snapshot_log_bytes": 0}


def file_of(cluster, tmp_path, name="file.snap"):
    """A copy of the newest snapshot of the leader, which is taken now."""
    node = cluster.wait_leader()
    cluster.kelp_json("snapshot", "now", "--at", f"127.0.0.1:{node.client_port}")
    path = tmp_path / name
    path.write_bytes(open(snapshots(node)[-1], "rb").read())
    return str(path)


def at(cluster):
    return ",".join(f"127.0.0.1:{n.client_port}" for n in cluster.nodes.values())


def restore(cluster, path, *words):
    return cluster.kelp("snapshot", "restore", path, "--at", at(cluster), *words)


def staged(node):
    with node.raw() as c:
        lines = c.call("RAFT", "RESTORE", "STATUS").decode().split()
    return dict(line.split(":") for line in lines)


def values(node, count):
    with node.redis() as r:
        return r.mget([f"key-{i}" for i in range(count)])


def test_into_a_running_cluster_and_into_a_new_one(make_cluster, tmp_path):
    cluster = make_cluster(3, **QUIET)
    fill(cluster.wait_leader(), 3000, 100)
    with cluster.wait_leader().redis() as r:
        r.set("timed", "v", ex=1000)
        r.set("gone", "v", px=1)
    path = file_of(cluster, tmp_path)
    members = cluster.kelp_json("members", "list")
    with cluster.wait_leader().redis() as r:
        r.delete("key-5")
        r.set("key-6", "other")
        r.set("young", "v")
    asked = restore(cluster, path)
    assert asked.returncode == 1 and "--yes" in asked.stdout
    assert "3,002 keys" in asked.stdout  # one is of kelp.py's own
    assert "nothing was changed" in asked.stdout
    done = restore(cluster, path, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["done"] and answer["replaced_keys"] == 3002 and answer["index"] > 3000
    for node in cluster.nodes.values():
        assert values(node, 3000) == [b"v" * 100] * 3000
        with node.redis() as r:
            assert r.get("young") is None and r.dbsize() == 3002
            assert 900 < r.ttl("timed") <= 1000
            assert abs(r.expiretime("timed") - time.time() - r.ttl("timed")) < 5
        wait_for(lambda n=node: staged(n)["end"] == "committed", "it is heard of")
    cluster.wait_equal()
    again = cluster.kelp_json("members", "list")
    assert [m["id"] for m in again["members"]] == [m["id"] for m in members["members"]]
    with cluster.wait_leader().redis() as r:
        r.set("later", "1")
    cluster.kelp_json("snapshot", "now")
    for node in cluster.nodes.values():  # and a restart comes to the same
        node.kill()
        node.start()
    cluster.wait_leader()
    index, state = cluster.wait_equal()
    assert values(cluster.nodes[1], 3000) == [b"v" * 100] * 3000
    other = make_cluster(1, **QUIET)
    with other.wait_leader().redis() as r:
        r.flushall()
    new = restore(other, path)  # nothing to lose: without --yes
    assert new.returncode == 0, new.stderr
    assert "restored by index" in new.stdout and "0 keys" in new.stdout
    assert values(other.nodes[1], 3000) == [b"v" * 100] * 3000


def test_a_damaged_file_changes_nothing(make_cluster, tmp_path):
    cluster = make_cluster(1, **QUIET)
    fill(cluster.wait_leader(), 1000, 100)
    path = file_of(cluster, tmp_path)
    before = cluster.wait_equal()
    damage(path, 5000)
    bad = restore(cluster, path, "--yes")
    assert bad.returncode == 1 and "damaged" in bad.stderr
    assert restore(cluster, str(tmp_path / "none"), "--yes").returncode == 1
    assert cluster.wait_equal() == before
    assert staged(cluster.nodes[1])["staged"] == "0" * 16


class Hand:
    """The steps of a restore, one by one, of an empty file of the key-value machine."""

    OWN = (2).to_bytes(4, "little") + bytes(28)

    def __init__(self, node, ident=None):
        self.node = node
        self.id = ident or secrets.token_hex(8)

    def call(self, *words):
        with self.node.raw() as c:
            return c.call("RAFT", "RESTORE", *words)

    def begin(self, *words):
        return self.call("BEGIN", self.id, 1, 1, 0, self.OWN, *words)


def test_steps_by_hand(make_cluster):
    cluster = make_cluster(3, **QUIET)
    leader = cluster.wait_leader()
    follower = cluster.followers()[0]
    with leader.redis() as r:
        r.set("a", "1")
    one, two = Hand(follower), Hand(leader)
    for words in (["BEGIN"], ["BEGIN", one.id, 1], ["PART", one.id, 0], ["COMMIT"],
                  ["COMMIT", "0" * 16], ["ABORT", "xyz"], ["STATUS", "x"], ["ELSE", one.id],
                  ["PART", one.id, 0, "x" * 65537]):
        assert one.call(*words).startswith("ERR"), words
    assert one.begin().startswith("OK index=")
    assert one.begin().startswith("OK index=")
    assert two.begin().startswith("ERR STAGED")
    assert two.call("COMMIT", one.id).startswith("ERR PART_MISSING")
    assert two.call("PART", two.id, 0, "x").startswith("ERR NOT_STAGED")
    wait_for(lambda: staged(follower)["staged"] == one.id, "it is heard of")
    with leader.raw() as c:
        no = c.call("RAFT", "SNAPSHOT", "NOW")
    assert no.startswith("ERR") and "restore staged" in no
    assert one.call("PART", one.id, 0, "x").startswith("ERR NOT_TAKEN")  # not the machine's
    wait_for(lambda: staged(follower)["end"] == "not-taken", "it is heard of")
    assert two.begin("FORCE").startswith("OK index=")
    assert one.begin("FORCE").startswith("OK index=")
    assert one.call("ABORT", one.id).startswith("OK index=")
    with leader.redis() as r:
        assert r.get("a") == b"1"


def test_an_empty_file_empties_it_and_sessions_end(make_cluster):
    cluster = make_cluster(3, **QUIET)
    leader = cluster.wait_leader()
    with leader.raw() as c:
        session = c.call("RAFT", "SESSION", "NEW")
        assert c.call("RAFT", "ONCE", session, 1, "INCR", "n") == 1
        hand = Hand(cluster.followers()[0])
        hand.begin()
        hand.call("ABORT", hand.id)
        own, ident = Hand.OWN, secrets.token_hex(8)
        assert hand.call("BEGIN", ident, 0, 0, 0, own).startswith("OK")
        assert c.call("RAFT", "ONCE", session, 2, "INCR", "n") == 2
        assert hand.call("COMMIT", ident).startswith("OK")
        again = c.call("RAFT", "ONCE", session, 2, "INCR", "n")
        assert again.startswith("ERR UNKNOWN_SESSION"), again
        assert c.call("GET", "n") is None
        assert c.call("INCR", "n") == 1
    cluster.wait_equal()


class Reader(threading.Thread):
    """Reads a pair of keys, linearizably, all the time: both of the file or both of before."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.ended, self.seen, self.wrong = cluster, False, set(), []

    def run(self):
        turn = 0
        while not self.ended:
            turn += 1
            node = self.cluster.nodes[turn % len(self.cluster.nodes) + 1]
            try:
                with node.raw(timeout=10) as c:
                    for _ in range(20):
                        answer = c.call("MGET", "key-1", "key-2999")
                        if isinstance(answer, Error):
                            break
                        if answer[0] != answer[1] or (b"f" in self.seen and answer[0] != b"f"):
                            self.wrong.append(answer)
                        self.seen.add(answer[0])
            except (Gone, OSError):
                time.sleep(0.01)


def put(node, value):
    with node.redis() as r:
        with r.pipeline(transaction=False) as p:
            for key in range(3000):
                p.set(f"key-{key}", value)
            p.execute()


@pytest.mark.parametrize("phase", ["begun", "parts", "staged"])
def test_leaders_killed_in_each_phase_leave_one_state(make_cluster, tmp_path, phase):
    """The file is restored by hand up to a phase, where the leader is killed; the command goes on
    from there by itself, since it is the same restore: here a second one takes its place."""
    cluster = make_cluster(3, **QUIET)
    with cluster.wait_leader().redis() as r:
        for key in range(400):
            r.set(f"big-{key}", "x" * 60000)
    put(cluster.wait_leader(), b"f")
    path = file_of(cluster, tmp_path)
    put(cluster.wait_leader(), b"b")
    reader = Reader(cluster)
    reader.start()
    run = subprocess.Popen(
        [cluster.program, "snapshot", "restore", path, "--yes", "--json", "--at", at(cluster)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    leader = cluster.wait_leader()

    def reached():
        s = staged(leader)
        if phase == "begun":
            return s["staged"] != "0" * 16
        share = 0.3 if phase == "parts" else 0.95
        return s["objects"] != "0" and int(s["next"]) >= share * int(s["objects"])

    wait_for(lambda: run.poll() is not None or reached(), "it is under way", every=0.001)
    before = staged(leader)
    leader.kill()
    assert run.poll() is None and before["staged"] != "0" * 16, "it was over too soon"
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert json.loads(out)["done"]
    leader.start()
    cluster.wait_leader()
    cluster.wait_equal(60)
    wait_for(lambda: b"f" in reader.seen, "it is read")
    reader.ended = True
    reader.join()
    assert not reader.wrong, reader.wrong[:3]
    for node in cluster.nodes.values():
        assert values(node, 3000) == [b"f"] * 3000
        with node.redis() as r:
            assert r.dbsize() == 3401
