# SPDX-License-Identifier: Apache-2.0
"""A node whose memory rots is found out by the others, and takes the state of a healthy one."""
import glob
import json
import os
import urllib.error
import urllib.request

import pytest

from kelp import Error, sanitized, wait_for
from load import Ledger

VALUE = b"what-memory-loses-" + b"0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def memory_of_its_size(program):
    if sanitized(program):
        pytest.skip("a sanitizer's memory is too large to be searched")


def rot(node, good):
    """Turns one bit in each copy of `good` that the process holds, as a cosmic ray would in one."""
    bad = bytes([good[0] ^ 1]) + good[1:]
    pid, hit = node.process.pid, 0
    node.pause()
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, \
            open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        for line in maps:
            words = line.split()
            if words[1] != "rw-p" or (len(words) > 5 and words[5].startswith("[v")):
                continue
            begin, end = (int(text, 16) for text in words[0].split("-"))
            memory.seek(begin)
            held = memory.read(end - begin)
            at = held.find(good)
            while at >= 0:
                memory.seek(begin + at)
                memory.write(bad)
                hit += 1
                at = held.find(good, at + 1)
    node.resume()
    assert hit > 0, "the value is nowhere in memory"


def write(node, count):
    with node.redis() as r, r.pipeline(transaction=False) as p:
        for i in range(count):
            p.set(f"key-{i}", i)
        p.execute()


def lose_a_state(cluster, node):
    """One value rots in the memory of a node, and a command makes something of it."""
    leader = cluster.wait_leader()
    with leader.redis() as r:
        r.set("rots", VALUE)
    cluster.wait_equal()
    rot(node, VALUE)
    with leader.redis() as r:
        r.append("rots", "!")
    write(leader, 600)
    wait_for(lambda: node.status()["health"] == "quarantined", "it is found out")


def refused(node, *words):
    with node.raw() as c:
        answer = c.call(*words)
    return answer if isinstance(answer, Error) else None


def post(node, path, body):
    request = urllib.request.Request(f"http://127.0.0.1:{node.http_port}{path}",
                                     data=json.dumps(body).encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def snapshots(node):
    return sorted(glob.glob(os.path.join(node.data, "snap", "*.snap")))


def at(node):
    return f"127.0.0.1:{node.client_port}"


def test_a_node_whose_memory_rots_rejoins_under_load(make_cluster):
    cluster = make_cluster(3)
    node = cluster.followers()[0]
    assert node.status()["rejoin"] == "no"
    with Ledger(cluster) as ledger:
        assert cluster.kelp("snapshot", "now", at=at(node)).returncode == 0
        lose_a_state(cluster, node)
        status = node.status()
        assert "its state is not that of 2 of 3 members" in status["reason"], status
        assert "kelp rejoin" in status["reason"]
        assert refused(node, "GET", "rots").code == "CLUSTERDOWN"
        assert snapshots(node), "it has one of its own"
        term, vote = status["term"], status["voted_for"]
        run = cluster.kelp("rejoin", at=at(node))
        assert run.returncode == 0, run.stderr
        assert run.stdout.startswith("rejoined: its state is that of a healthy member, at ")
        own = snapshots(node)
        wait_for(lambda: len(snapshots(node)) == 1, f"what it had is gone: {own}")
        status = node.status()
        assert status["health"] == "ok" and status["rejoin"] == "no", status
        assert (status["term"], status["voted_for"]) == (term, vote)
        assert int(status["rejoined"]) == 1
        with node.raw() as c:
            assert c.call("GET", "rots") == VALUE + b"!"
        count = ledger.count
        wait_for(lambda: ledger.count > count + 20, "writes go on")
    write(cluster.wait_leader(), 600)
    cluster.wait_equal()
    for member in cluster.nodes.values():
        ledger.check(member)
        wait_for(lambda m=member: m.status()["divergence"] == "none", "all are compared")
    node.kill()
    node.start()  # and the state that was replaced is not what a start finds
    cluster.wait_equal()
    ledger.check(node)
    assert "QUARANTINED" in node.log() and "has rejoined" in node.log()


def test_a_start_goes_on_in_quarantine_until_what_it_read_is_compared(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    node, other = cluster.followers()
    lose_a_state(cluster, node)
    wait_for(lambda: ", in quarantine" in cluster.kelp("log", "dump", node.data).stdout, "noted")
    for member in (leader, other, node):
        member.kill()
    node.start()
    wait_for(lambda: (node.status() or {}).get("health") == "quarantined", "nobody told it more")
    assert "before it was started" in node.status()["reason"]
    assert refused(node, "GET", "rots").code == "CLUSTERDOWN"
    leader.start()
    other.start()
    wait_for(lambda: node.status()["health"] == "ok", "its log was right")
    with node.raw() as c:
        assert c.call("GET", "rots") == VALUE + b"!"
    cluster.wait_equal()


def test_rejoin_is_refused_with_the_reason(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    node, other = cluster.followers()
    assert refused(node, "RAFT", "REJOIN").startswith("ERR NOTHING_NEW")
    assert refused(node, "RAFT", "REJOIN", "FROM", node.id, "FORCE").startswith("ERR SELF")
    assert refused(node, "RAFT", "REJOIN", "FROM", 9, "FORCE").startswith("ERR UNKNOWN_MEMBER")
    assert refused(leader, "RAFT", "REJOIN", "FORCE").startswith("ERR LEADS")
    for words in (["FROM"], ["FROM", "x"], ["FORCE", "FORCE"], ["NOW"]):
        assert refused(node, "RAFT", "REJOIN", *words).startswith("ERR BAD_REQUEST"), words
    code, body = post(node, "/v1/raft/rejoin", {})
    assert (code, body["error"]) == (400, "NOTHING_NEW")
    assert post(node, "/v1/raft/rejoin", {"from": "x"})[0] == 400
    run = cluster.kelp("rejoin", at=at(node))
    assert run.returncode == 1 and "NOTHING_NEW" in run.stderr
    lose_a_state(cluster, node)
    leader.kill()
    other.kill()
    wait_for(lambda: (refused(node, "RAFT", "REJOIN") or "").startswith("TRYAGAIN NO_HEALTHY"),
             "nobody is there")
    assert node.status()["health"] == "quarantined"


@pytest.mark.parametrize("named", [True, False])
def test_of_two_that_differ_people_choose(make_cluster, named):
    cluster = make_cluster(2)
    leader = cluster.wait_leader()
    node = cluster.followers()[0]
    with leader.redis() as r:
        r.set("rots", VALUE)
    cluster.wait_equal()
    rot(node, VALUE)
    with leader.redis() as r:
        r.append("rots", "!")
    write(leader, 600)
    for member in (leader, node):
        wait_for(lambda m=member: m.status()["divergence"] == "split", "both say so")
        assert refused(member, "GET", "rots") is None
    code, body = post(node, "/v1/raft/rejoin", {"from": leader.id} if named else {})
    assert (code, body["error"]) == (400, "NOTHING_NEW")
    wish = {"from": leader.id, "force": True} if named else {"force": True}
    assert post(node, "/v1/raft/rejoin", wish)[0] == 202
    wait_for(lambda: node.number("rejoined") == 1, "it has the other's state")
    write(leader, 600)
    cluster.wait_equal()
    for member in (leader, node):
        wait_for(lambda m=member: m.status()["divergence"] == "none", "they agree")
