# SPDX-License-Identifier: Apache-2.0
"""Snapshots that travel between real nodes: to one that was away for long, to those that are added,
to one whose directory was emptied; and kills in the middle of them."""
import os
import re
import types
import urllib.request

import pytest

from kelp import wait_for
from load import Ledger
from test_join import knocking
from test_members import done, peer, roles
from test_snapshot import damage, snapshots

# Logs are shortened early, and nothing is kept for who is behind.
SHORT = {"segment_bytes": 1 << 20, "snapshot_log_bytes": 2 << 20, "snapshot_log_ratio": 0,
         "trailing_entries": 500, "log_hold_bytes": 0}
VALUE = b"v" * 1024


def fill(node, count, first=0):
    with node.redis() as r:
        for begin in range(first, first + count, 500):
            with r.pipeline(transaction=False) as p:
                for key in range(begin, min(begin + 500, first + count)):
                    p.set(f"key-{key}", VALUE)
                p.execute()


def metric(node, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/metrics") as page:
        text = page.read().decode()
    return float(re.search(rf"^{name} (\S+)$", text, re.M).group(1))


def shortened(nodes, beyond):
    """The logs of all of them begin behind that index."""
    for node in nodes:
        wait_for(lambda n=node: (n.number("first_index") or 0) > beyond,
                 f"the log of node {node.id} is shortened beyond {beyond}")


def through(*nodes):
    return types.SimpleNamespace(nodes={n.id: n for n in nodes})


def refused_none(ledger):
    assert not ledger.refused and not ledger.uncertain, (ledger.errors[:5], ledger.uncertain)


def away(cluster, node, count=8000):
    """It is killed, and what it lacks is compacted on the others."""
    had = node.number("last_index")
    node.kill()
    leader = cluster.wait_leader()
    fill(leader, count)
    shortened(cluster.running(), had + 1)
    return leader


def fetches(node):
    """It is in the middle of one, beyond its head: (from, bytes, size)."""
    status = node.status()
    if status is None or int(status["fetch_index"]) == 0 or int(status["fetch_bytes"]) == 0:
        return None
    return int(status["fetch_from"]), int(status["fetch_bytes"]), int(status["fetch_size"])


def test_who_was_away_catches_up_by_a_snapshot_while_all_writes_go_on(make_cluster):
    cluster = make_cluster(3, **SHORT)
    leader, third, other = cluster.wait_leader(), *cluster.followers()
    with Ledger(through(leader, other), writers=2, value_bytes=1024) as ledger:
        wait_for(lambda: ledger.count > 50, "writes")
        had = third.number("last_index")
        third.kill()
        fill(leader, 20000)
        shortened((leader, other), had + 1)
        before = ledger.count
        third.start()
        wait_for(lambda: third.running() and (third.number("snapshot_index") or 0) > had and
                 metric(third, "kelp_snapshots_fetched_total") == 1, "it has a snapshot", 60)
        wait_for(lambda: third.number("fetch_index") == 0 and
                 third.number("applied_index") >= 10000, "its machine has it")
        wait_for(lambda: ledger.count > before + 50, "writes go on")
    refused_none(ledger)
    assert metric(third, "kelp_snapshot_fetches_failed_total") == 0
    served = [metric(n, "kelp_snapshot_sent_bytes_total") for n in (leader, other)]
    assert sum(served) > 10000 * 1024  # most; the last ones came by the log
    cluster.wait_equal(60)
    ledger.check(third)
    third.kill()
    third.start()  # and it starts from what it was sent
    cluster.wait_equal(60)


def test_nodes_are_added_to_a_cluster_whose_log_was_shortened(make_cluster):
    cluster = make_cluster(5, founders=3, start=False, **SHORT)
    fourth, fifth = cluster.nodes[4], cluster.nodes[5]
    fourth.join = fifth.join = ",".join(peer(cluster.nodes[i]) for i in (1, 2, 3))
    fifth.id_flag = "auto"
    for number in (1, 2, 3):
        cluster.nodes[number].start()
    fill(cluster.wait_leader(), 8000)
    shortened(cluster.running(), 1000)
    for number in (1, 2, 3):  # none of them remembers the first entry
        cluster.nodes[number].kill()
        cluster.nodes[number].start()
        cluster.wait_leader()
    leader = cluster.wait_leader()
    with Ledger(through(leader), writers=2) as ledger:
        fourth.start()
        wait_for(lambda: "4" in knocking(leader), "it knocks")
        done(leader, "ADD", 4)
        wait_for(lambda: (fourth.status() or {}).get("role") == "follower", "it takes part")
        fifth.start()
        wait_for(lambda: peer(fifth) in knocking(leader).get("auto", []), "it knocks")
        run = cluster.kelp("members", "add", "auto", peer(fifth),
                           at=f"127.0.0.1:{leader.client_port}")
        assert run.returncode == 0, run
        wait_for(lambda: (fifth.status() or {}).get("node_id") == "5", "it knows its id")
        before = ledger.count
        wait_for(lambda: ledger.count > before + 20, "writes go on")
    refused_none(ledger)
    wait_for(lambda: roles(leader) == {i: "voter" for i in range(1, 6)}, "five voters")
    cluster.wait_equal(60)
    for node in (fourth, fifth):
        assert node.number("first_index") > 1000
        node.kill()
        node.start()
    cluster.wait_equal(60)
    ledger.check(fifth)


@pytest.mark.parametrize("victims", ["receiver", "source", "both", "stopped"])
def test_kills_in_the_middle_of_a_fetch_cost_no_data(make_cluster, victims):
    # slow enough to be in the middle of: about 8 MB
    cluster = make_cluster(3, snapshot_send_bytes=2 << 20, **SHORT)
    third = cluster.followers()[0]
    leader = away(cluster, third)
    third.start()
    source, *_ = wait_for(lambda: fetches(third), "it fetches")
    assert source == leader.id
    killed = {"source": [leader], "both": [third, leader]}.get(victims, [third])
    for node in killed:
        if victims == "stopped":
            assert node.stop() == 0
        else:
            node.kill()
    for node in killed:
        node.start()
    cluster.wait_leader()
    cluster.wait_equal(60)
    with third.raw() as c:
        for key in (0, 4000, 7999):
            assert c.call("GET", f"key-{key}") == VALUE
    with Ledger(cluster) as ledger:
        wait_for(lambda: ledger.count > 100, "writes")
    cluster.wait_equal(60)
    ledger.check(third)


def test_what_is_damaged_at_the_source_is_not_sent(make_cluster):
    cluster = make_cluster(3, **SHORT)
    third = cluster.followers()[0]
    leader = away(cluster, third)
    with leader.raw() as c:  # one that is being taken would be whole
        wait_for(lambda: all(b"taking" not in row for row in c.call("RAFT", "SNAPSHOT", "LIST")),
                 "none is being taken")
    for path in snapshots(leader):  # all of them, in the middle of their objects
        damage(path, os.path.getsize(path) // 2)
    third.start()  # before anybody writes: one that is taken meanwhile would be whole, too
    wait_for(lambda: "; another one is taken" in leader.log(), "it is found out")
    with Ledger(through(leader), writers=2) as ledger:
        wait_for(lambda: (third.number("applied_index") or 0) > 8000, "it has another one", 60)
    refused_none(ledger)
    assert "fault" not in leader.log_tail()
    cluster.wait_equal(60)
    ledger.check(third)


def test_an_emptied_node_is_replaced_where_the_log_was_shortened(make_cluster):
    cluster = make_cluster(4, founders=3, start=False, **SHORT)
    for number in (1, 2, 3):
        cluster.nodes[number].start()
    leader = cluster.wait_leader()
    third, fourth = cluster.nodes[leader.id % 3 + 1], cluster.nodes[4]
    away(cluster, third)
    third.empty_directory()
    third.start()
    assert third.wait_exit() == 3 and "kelp members replace" in third.log_tail()
    fourth.join = peer(leader)
    with Ledger(through(leader), writers=2) as ledger:
        fourth.start()
        wait_for(lambda: "4" in knocking(leader), "it knocks")
        with leader.raw(timeout=90) as c:
            answer = c.call("RAFT", "REPLACE", third.id, 4, peer(fourth))
        assert str(answer).startswith("OK"), answer
        wait_for(lambda: ledger.count > 50, "writes go on")
    refused_none(ledger)
    wait_for(lambda: set(roles(leader)) == {1, 2, 3, 4} - {third.id}, "it took its place")
    cluster.wait_equal(60)
    ledger.check(fourth)
