# SPDX-License-Identifier: Apache-2.0
"""Clusters that grow from one node, nodes without an id, and addresses that change."""
import os
import subprocess
import types

import pytest

from kelp import Error, free_ports, wait_for
from load import Ledger
from test_members import done, http, members, peer, roles


def knocking(node):
    """{id or "auto": [address]} of those who wait to be added at a node."""
    with node.raw() as c:
        lines = c.call("RAFT", "MEMBERS")[1:]
    rows = [dict(w.split(":", 1) for w in line.decode().split(" ")) for line in lines]
    found = {}
    for row in rows:
        if "knocks" in row:
            found.setdefault(row["knocks"], []).append(row["address"])
    return found


def found_alone(node, *words):
    with node.raw() as c:
        return c.call("RAFT", "BOOTSTRAP", *words)


def test_one_node_grows_to_five_that_had_no_ids_under_load(make_cluster):
    cluster = make_cluster(5, founders=0, start=False)
    first = cluster.nodes[1]
    for number, node in cluster.nodes.items():
        node.id_flag = "auto"
        if number > 1:  # each knows the one before, so most do not know the leader
            node.join = peer(cluster.nodes[number - 1]) + "," + peer(node)
    first.start()
    wait_for(lambda: (first.status() or {}).get("role") == "passive", "it waits")
    assert first.status()["node_id"] == "0"
    assert found_alone(first) == "OK"
    wait_for(lambda: (first.status() or {}).get("role") == "leader", "it leads")
    assert first.status()["node_id"] == "1"
    steady = types.SimpleNamespace(nodes={1: first})
    with Ledger(steady, writers=2) as ledger:
        for number in (2, 3, 4, 5):
            node = cluster.nodes[number].start()
            wait_for(lambda n=node: peer(n) in knocking(first).get("auto", []),
                     f"{peer(node)} knocks at the leader")
            with first.raw(timeout=90) as c:
                answer = c.call("RAFT", "ADD", "AUTO", peer(node))
                again = c.call("RAFT", "ADD", "AUTO", peer(node))
            assert answer.startswith("OK index=") and answer.endswith(f" id={number}"), answer
            assert again == answer  # asked once more, it is the same node
            wait_for(lambda n=node: (n.status() or {}).get("node_id") == str(number), "it knows")
        assert roles(first) == {i: "voter" for i in range(1, 6)}
        assert knocking(first) == {}
        before = ledger.count
        wait_for(lambda: ledger.count > before + 20, "five take writes")
    assert not ledger.refused and not ledger.uncertain, (ledger.refused, ledger.uncertain)
    ledger.check(first)
    cluster.wait_equal()
    third = cluster.nodes[3]
    third.kill()
    third.start()  # --id auto takes the id that it was given
    wait_for(lambda: (third.status() or {}).get("role") == "follower", "it is back")
    assert third.status()["node_id"] == "3"
    third.kill()
    third.id_flag = "4"
    third.start()
    assert third.wait_exit() == 3 and "node 3, not to node 4" in third.log()


def test_a_node_with_an_id_knocks_and_is_added_without_typing_its_address(make_cluster):
    cluster = make_cluster(3, founders=2, start=False)
    third = cluster.nodes[3]
    third.join = peer(cluster.nodes[2]) + ",127.0.0.1:1"
    cluster.start()
    leader = cluster.wait_leader()
    wait_for(lambda: knocking(leader) == {"3": [peer(third)]}, "it knocks")
    status = third.status()
    assert status["role"] == "passive" and "members add 3" in status["reason"]
    assert leader.status()["cluster_id"] in status["reason"]
    page = http(leader, "GET", "/v1/members")[1]
    assert [k["address"] for k in page["knocking"]] == [peer(third)]
    assert len(page["members"]) == 2
    done(leader, "ADD", 3, "LEARNER")
    assert members(leader)[1][3]["address"] == peer(third)
    wait_for(lambda: (third.status() or {}).get("role") == "follower", "it takes part")
    with leader.raw() as c:
        error = c.call("RAFT", "ADD", 3)
    assert isinstance(error, Error) and error.startswith("ERR IS_LEARNER node=3"), error
    assert "PROMOTE" in error
    listed = cluster.kelp_json("members", "list")
    assert [m["id"] for m in listed["members"]] == ["1", "2", "3"] and listed["knocking"] == []


def test_a_running_node_founds_alone_once(make_cluster):
    cluster = make_cluster(2, founders=0, start=False)
    first, second = cluster.nodes[1], cluster.nodes[2]
    second.join = peer(first)
    first.start()
    second.start()
    wait_for(first.status, "it answers")
    wait_for(second.status, "it answers")
    answer = found_alone(second)
    assert isinstance(answer, Error) and "--join" in answer
    run = cluster.kelp("bootstrap", at=f"127.0.0.1:{first.client_port}")
    assert run.returncode == 0 and run.stdout.startswith("OK"), run
    wait_for(lambda: (first.status() or {}).get("role") == "leader", "it leads")
    answer = found_alone(first)
    assert isinstance(answer, Error) and answer.startswith("ERR HAS_CLUSTER"), answer
    assert first.status()["cluster_id"] in answer and "node 1" in answer
    assert found_alone(first, "IFEMPTY") == "OK"
    status, said = http(first, "POST", "/v1/raft/bootstrap")
    assert status == 400 and said["error"] == "HAS_CLUSTER"
    assert http(first, "POST", "/v1/raft/bootstrap", {"if_empty": True})[0] == 200
    assert http(first, "POST", "/v1/raft/bootstrap", {"if": 1})[0] == 400
    wait_for(lambda: "2" in knocking(first), "the other knocks")
    with first.raw() as c:
        assert c.call("SET", "a", "1") == "OK"


def test_an_emptied_joiner_serves_where_it_says_now(make_cluster):
    cluster = make_cluster(3, founders=2, start=False)
    third = cluster.nodes[3]
    third.join = peer(cluster.nodes[1]) + "," + peer(cluster.nodes[2])
    cluster.start()
    leader = cluster.wait_leader()
    wait_for(lambda: "3" in knocking(leader), "it knocks")
    third.kill()
    third.empty_directory()  # its starts are counted from one again
    third.client_port, third.http_port = free_ports(2)
    third.start()
    wait_for(lambda: "3" in knocking(leader), "it knocks again")
    done(leader, "ADD", 3)
    wait_for(lambda: (third.status() or {}).get("role") == "follower", "it takes part")

    def moved():
        with cluster.wait_leader().raw() as c:
            c.call("RAFT", "TRANSFER", 3)
        return (third.status() or {}).get("role") == "leader"
    wait_for(moved, "it leads")
    for node in (cluster.nodes[1], cluster.nodes[2]):
        wait_for(lambda n=node: (n.status() or {}).get("leader_id") == "3", "they follow it")
        with node.raw() as c:
            assert c.call("ROLE")[:3] == [b"slave", b"127.0.0.1", third.client_port]


def test_a_directory_is_founded_offline_once(make_cluster, tmp_path):
    cluster = make_cluster(1, founders=0, start=False)
    node = cluster.nodes[1]

    def bootstrap(*words):
        return subprocess.run([cluster.program, "bootstrap", "--data", node.data, *words],
                              capture_output=True, text=True, timeout=30, check=False)

    run = bootstrap()
    assert run.returncode == 2 and "--peer" in run.stderr
    run = bootstrap("--peer", peer(node))
    assert run.returncode == 0 and run.stdout.startswith("OK cluster_id="), run
    cluster_id = run.stdout.strip().split("=")[1]
    run = bootstrap("--peer", peer(node))
    assert run.returncode == 1 and cluster_id in run.stderr and "node 1" in run.stderr, run
    run = bootstrap("--peer", peer(node), "--if-empty")
    assert run.returncode == 0 and cluster_id in run.stdout
    run = bootstrap("--peer", peer(node), "--id", "2")
    assert run.returncode == 1 and "node 1, not to node 2" in run.stderr, run
    node.start()
    wait_for(lambda: (node.status() or {}).get("role") == "leader", "it leads")
    assert node.status()["cluster_id"] == cluster_id
    with node.raw() as c:
        assert c.call("SET", "a", "1") == "OK"
    run = bootstrap("--peer", peer(node), "--if-empty")
    assert run.returncode == 1 and "holds it" in run.stderr, run  # it is in use
    assert os.path.exists(os.path.join(node.data, "identity"))


def test_all_addresses_change_at_once_and_the_nodes_move_themselves(make_cluster):
    cluster = make_cluster(3)
    with cluster.wait_leader().raw() as c:
        assert c.call("SET", "before", "1") == "OK"
    for node in cluster.nodes.values():
        node.stop()
    for node, port in zip(cluster.nodes.values(), free_ports(3)):
        node.peer_port = port
    where = ",".join(f"{i}={peer(n)}" for i, n in cluster.nodes.items())
    for node in cluster.nodes.values():
        node.peer_at = where
        node.start()
    leader = cluster.wait_leader()
    addresses = {i: peer(n) for i, n in cluster.nodes.items()}
    wait_for(lambda: {i: m["address"] for i, m in members(leader)[1].items()} == addresses,
             "all have moved")
    with leader.raw() as c:
        assert c.call("GET", "before") == b"1"
        assert c.call("RAFT", "MOVE", leader.id, "127.0.0.1:1").startswith("OK")
    assert members(leader)[1][leader.id]["address"] == "127.0.0.1:1"  # as somebody wanted
    done(leader, "MOVE", leader.id, peer(leader))
    for node in cluster.nodes.values():  # from now on without the flag
        node.stop()
        node.peer_at = None
    for node in cluster.nodes.values():
        node.start()
    cluster.wait_leader()
    cluster.wait_equal()


def test_a_node_that_comes_back_elsewhere_is_found_by_its_handshake(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    moved = cluster.followers()[0]
    before = peer(moved)
    moved.stop()
    moved.peer_port = free_ports(1)[0]
    moved.start()
    with leader.raw() as c:
        assert c.call("SET", "after", "1") == "OK"
    cluster.wait_equal()
    assert members(leader)[1][moved.id]["address"] == before  # nobody asked for another
    moved.stop()
    moved.peer_at = f"{moved.id}={peer(moved)}"
    moved.start()
    wait_for(lambda: members(cluster.wait_leader())[1][moved.id]["address"] == peer(moved),
             "it moved itself")


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
