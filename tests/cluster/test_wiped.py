# SPDX-License-Identifier: Apache-2.0
"""Lost data directories: an emptied node never votes, and no second cluster is ever born."""
import os
import re
import shutil
import subprocess
import time

import pytest

from kelp import Error, Gone, wait_for
from load import Ledger


def never_voted(node):
    status, text = node.dump()
    assert status in (0, 1)
    votes = re.findall(r"^vote copy \d: .*vote (\d+),", text, re.M)
    return all(vote == "0" for vote in votes)


@pytest.mark.parametrize("victim", ["leader", "follower"])
def test_an_emptied_directory_is_refused_and_never_votes(make_cluster, victim):
    cluster = make_cluster(3)
    with Ledger(cluster) as ledger:
        wait_for(lambda: ledger.count > 200, "200 writes")
        node = cluster.wait_leader() if victim == "leader" else cluster.followers()[0]
        node.kill()
        node.empty_directory()
        node.start()
        assert node.wait_exit() == 3, node.log_tail()
        before = ledger.count
        wait_for(lambda: ledger.count > before + 100, "the others go on")
    log = node.log_tail()
    assert "kelp members replace" in log and "empty" in log, log
    assert never_voted(node)
    for other in cluster.running():
        ledger.check(other)
    node.start()  # the same command line as often as one likes: the same answer
    assert node.wait_exit() == 3
    assert never_voted(node)


def test_two_of_three_emptied_while_the_third_is_down_make_no_second_cluster(make_cluster):
    cluster = make_cluster(3)
    with Ledger(cluster) as ledger:
        wait_for(lambda: ledger.count > 200, "200 writes")
    first, second, third = (cluster.nodes[i] for i in (1, 2, 3))
    cluster_id = first.status()["cluster_id"]
    for node in cluster.nodes.values():
        node.kill()
    for node in (first, second):
        os.rename(node.data, node.data + ".old")
        node.start()
    # Nothing may happen for many election timeouts: they wait for the third, and say so.
    until = time.monotonic() + 4
    while time.monotonic() < until:
        for node in (first, second):
            status = node.status()
            if status is None:
                assert node.running(), node.log_tail()
                continue
            assert status["role"] == "passive" and status["term"] == "0", status
            assert int(status["cluster_id"], 16) == 0
        time.sleep(0.1)
    wait_for(lambda: (first.status() or {}).get("reason"), "node 1 says whom it waits for")
    assert "3" in first.status()["reason"], first.status()["reason"]
    third.start()
    for node in (first, second):
        assert node.wait_exit() == 3, node.log_tail()
        assert "kelp members replace" in node.log_tail() and never_voted(node)
    status = wait_for(third.status, "node 3 answers")
    assert status["cluster_id"] == cluster_id and status["role"] != "leader"
    with third.raw() as c:
        answer = c.call("SET", "alone", "1")
    assert isinstance(answer, Error) and answer.code == "CLUSTERDOWN", answer
    for node in (first, second):
        shutil.rmtree(node.data)
        os.rename(node.data + ".old", node.data)
        node.start()
    cluster.wait_leader()
    cluster.wait_equal()
    for node in cluster.nodes.values():
        assert node.status()["cluster_id"] == cluster_id
        ledger.check(node)
        with node.raw() as c:
            assert c.call("GET", "alone") is None  # refused means never


def test_a_wiped_node_is_replaced_where_it_stood_by_what_its_log_says(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    with leader.raw() as c:
        assert c.call("SET", "before", "1") == "OK"
    node = cluster.followers()[0]
    node.kill()
    node.empty_directory()
    node.start()
    assert node.wait_exit() == 3, node.log_tail()
    said = f"with --id auto --join instead of --bootstrap, then kelp members replace {node.id} auto"
    assert said in node.log_tail(), node.log_tail()
    node.empty_directory()  # of its id
    cluster.founders = [i for i in cluster.founders if i != node.id]
    node.id_flag = "auto"
    node.join = f"127.0.0.1:{leader.peer_port}"
    node.start()
    wait_for(lambda: (node.status() or {}).get("role") == "passive" and "knocks" in cluster.kelp(
        "members", at=f"127.0.0.1:{leader.client_port}").stdout, "it knocks")
    at = f"127.0.0.1:{leader.client_port}"
    run = cluster.kelp("members", "plan", "replace", str(node.id), "auto", at=at)
    assert run.returncode == 0, run
    run = cluster.kelp("members", "replace", str(node.id), "auto", at=at)
    assert run.returncode == 0 and run.stdout.strip().endswith("id=4"), run
    wait_for(lambda: (node.status() or {}).get("role") == "follower", "it takes part")
    assert node.status()["node_id"] == "4"
    assert leader.status()["voters"] == ",".join(
        str(i) for i in sorted({1, 2, 3, 4} - {node.id}))
    cluster.wait_equal()
    with node.raw() as c:
        assert c.call("GET", "before") == b"1"


def test_a_second_cluster_at_the_address_of_a_member_says_so_loudly(make_cluster):
    cluster = make_cluster(3, founders=1)
    first = cluster.nodes[1]
    for number in (2, 3):
        with first.raw(timeout=90) as c:
            answer = c.call("RAFT", "ADD", number, f"127.0.0.1:{cluster.nodes[number].peer_port}")
        assert answer.startswith("OK"), answer
    before = first.status()["cluster_id"]
    assert first.status()["reason"] == ""
    for node in cluster.nodes.values():
        node.kill()
    first.empty_directory()
    first.start()  # --bootstrap 1=itself: alone it cannot know
    wait_for(lambda: (first.status() or {}).get("role") == "leader", "it leads one of its own")
    assert first.status()["cluster_id"] != before
    for number in (2, 3):
        cluster.nodes[number].start()
    wait_for(lambda: f"node 1 of cluster {before}" in first.status()["reason"], "it was told")
    assert "this address is node 1 of cluster" in first.log() and "replace 1 auto" in first.log()
    run = cluster.kelp("status")
    assert before in run.stdout and "this address is node 1" in run.stdout, run
    with first.raw() as c:  # anybody could say such a thing, so nothing is refused for it
        assert c.call("SET", "a", "1") == "OK"
    for number in (2, 3):
        cluster.nodes[number].kill()
    wait_for(lambda: first.status()["reason"] == "", "nobody says so any more")


def test_an_identity_without_its_vote_file_is_refused(make_cluster):
    cluster = make_cluster(3)
    node = cluster.followers()[0]
    node.kill()
    os.unlink(os.path.join(node.data, "vote"))
    node.start()
    assert node.wait_exit() == 3, node.log_tail()
    assert "vote" in node.log_tail()


def test_founding_waits_until_everybody_is_there(make_cluster):
    cluster = make_cluster(3, start=False)
    cluster.nodes[1].start()
    cluster.nodes[2].start()
    wait_for(lambda: all((cluster.nodes[i].status() or {}).get("role") == "passive"
                         for i in (1, 2)), "both wait")
    try:
        with cluster.nodes[1].raw() as c:
            answer = c.call("SET", "early", "1")
            assert isinstance(answer, Error) and answer.code in ("CLUSTERDOWN", "LOADING"), answer
    except Gone as gone:
        raise AssertionError("an unfounded node must answer") from gone
    cluster.nodes[3].start()
    cluster.wait_leader()
    ids = {n.status()["cluster_id"] for n in cluster.nodes.values()}
    assert len(ids) == 1 and int(ids.pop(), 16) != 0


def test_a_log_that_is_empty_beside_a_vote_was_lost(make_cluster, program):
    """Not a founding that was cut short: that one never voted."""
    cluster = make_cluster(1)
    node = cluster.nodes[1]
    cluster.wait_leader()
    with node.raw() as client:
        for i in range(3):
            assert client.call("SET", f"k{i}", i) == "OK"
    node.kill()
    folder = os.path.join(node.data, "log")
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        with open(path, "r+b") as file:  # the two blocks of its head stay
            file.seek(8192)
            file.write(bytes(os.path.getsize(path) - 8192))
    node.start()
    assert node.wait_exit() != 0
    assert "the log was lost" in node.log_tail(), node.log_tail()
    run = subprocess.run([program, "bootstrap", "--data", node.data, "--peer",
                          f"127.0.0.1:{node.peer_port}"], text=True, capture_output=True,
                         timeout=20, check=False)
    assert run.returncode > 0 and "the log was lost" in run.stderr, run.stderr
