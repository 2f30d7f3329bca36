# SPDX-License-Identifier: Apache-2.0
"""One, three and five nodes: they agree, survive what they must, and keep what they were told."""
import subprocess

import pytest
import redis

from kelp import Error, wait_for
from load import Ledger


@pytest.mark.parametrize("count", [1, 3, 5])
def test_every_node_serves_reads_and_writes(make_cluster, count):
    cluster = make_cluster(count)
    for node in cluster.nodes.values():
        with node.redis() as writer:
            assert writer.set(f"from-{node.id}", node.id)
        for other in cluster.nodes.values():
            with other.redis() as reader:
                assert int(reader.get(f"from-{node.id}")) == node.id
    cluster.wait_equal()


def test_redis_py_works_against_a_follower(make_cluster):
    cluster = make_cluster(3)
    with cluster.followers()[0].redis(decode_responses=True) as r:
        assert r.ping()
        assert r.mset({"a": "1", "b": "2"})
        assert r.mget("a", "b", "none") == ["1", "2", None]
        assert r.incr("n", 5) == 5 and r.decr("n") == 4
        assert r.append("a", "0") == 2 and r.strlen("a") == 2
        assert r.setnx("a", "x") is False and r.exists("a", "b", "none") == 2
        assert sorted(r.keys("*"))[:2] == ["a", "b"] and set(r.scan_iter()) >= {"a", "b", "n"}
        assert r.type("a") == "string" and r.delete("a", "b") == 2
        with pytest.raises(redis.ResponseError, match="not an integer"):
            r.set("word", "abc")
            r.incr("word")
        with r.pipeline(transaction=False) as p:
            for i in range(100):
                p.set(f"p{i}", i).get(f"p{i}")
            answers = p.execute()
        assert answers == [x for i in range(100) for x in (True, str(i))]
        assert r.info()["cluster_enabled"] == 1


def test_five_nodes_go_on_without_two(make_cluster):
    cluster = make_cluster(5)
    with Ledger(cluster) as ledger:
        wait_for(lambda: ledger.count > 100, "100 writes")
        leader = cluster.wait_leader()
        other = cluster.followers()[0]
        leader.kill()
        other.kill()
        before = ledger.count
        cluster.wait_leader()
        wait_for(lambda: ledger.count > before + 100, "100 writes without two nodes")
    leader.start()
    other.start()
    cluster.wait_equal()
    for node in cluster.nodes.values():
        ledger.check(node)


@pytest.mark.parametrize("count", [1, 3])
def test_all_killed_at_once_lose_nothing(make_cluster, count):
    cluster = make_cluster(count)
    with Ledger(cluster) as ledger:
        for _ in range(3):
            before = ledger.count
            wait_for(lambda: ledger.count > before + 100, "100 writes")
            for node in cluster.nodes.values():
                node.process.kill()
            for node in cluster.nodes.values():
                node.kill()
                node.start()
            cluster.wait_leader()
    cluster.wait_equal()
    for node in cluster.nodes.values():
        ledger.check(node)


def test_sigterm_ends_a_node_with_status_0(make_cluster):
    cluster = make_cluster(3)
    for node in cluster.nodes.values():
        assert node.stop() == 0
    cluster.start()


def test_a_second_process_on_one_directory_is_refused(make_cluster):
    cluster = make_cluster(1)
    node = cluster.nodes[1]
    second = subprocess.run(node.command(), capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 3, second.stderr
    assert "another process" in second.stderr.lower() or "lock" in second.stderr.lower()
    with node.raw() as c:
        assert c.call("SET", "still", "here") == "OK"


def test_another_id_than_the_one_inside_is_refused(make_cluster):
    cluster = make_cluster(1)
    node = cluster.nodes[1]
    node.kill()
    words = node.command()
    words[words.index("--id") + 1] = "7"
    words[words.index("--bootstrap") + 1] = f"7=127.0.0.1:{node.peer_port}"
    wrong = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert wrong.returncode == 3, wrong.stderr
    assert "1" in wrong.stderr and "7" in wrong.stderr


@pytest.mark.parametrize("words, expected", [
    (["--set", "heartbeat-ms=500", "--set", "election-ms=600"], ["heartbeat-ms", "election-ms"]),
    (["--set", "election-ms=potato"], ["election-ms", "potato"]),
    (["--set", "no-such-key=1"], ["no-such-key"]),
    (["--client", "0.0.0.0:7001"], ["advertise-client"]),
    (["--id", "0"], ["id"]),
    (["--bootstrap", "1=127.0.0.1:7101,1=127.0.0.1:7102"], ["1"]),
    (["--bootstrap", "2=127.0.0.1:7102"], ["1"]),
    (["--join", "127.0.0.1:7101", "--bootstrap", "1=127.0.0.1:7101"], ["join", "bootstrap"]),
    (["--join", "7101"], ["join", "HOST:PORT"]),
])
def test_wrong_settings_are_named(program, tmp_path, words, expected):
    base = ["--id", "1", "--data", str(tmp_path / "d"), "--bootstrap", "1=127.0.0.1:7101"]
    run = subprocess.run([program, "server", *base, *words], capture_output=True, text=True,
                         timeout=10, check=False)
    assert run.returncode == 2, run.stderr
    assert all(word in run.stderr for word in expected), run.stderr
    assert not (tmp_path / "d").exists()


def test_on_follower_moved_names_the_leader(make_cluster):
    cluster = make_cluster(3, on_follower="moved")
    leader = cluster.wait_leader()
    follower = cluster.followers()[0]

    def moved():
        with follower.raw() as c:
            answer = c.call("SET", "foo", "bar")
        return isinstance(answer, Error) and answer == f"MOVED 12182 127.0.0.1:{leader.client_port}"
    wait_for(moved, "MOVED with the leader's client address")
    run = cluster.kelp("set", "foo", "bar", at=f"127.0.0.1:{follower.client_port}")
    assert run.returncode == 0 and run.stdout == "OK\n", run.stderr


def test_role_and_cluster_slots_name_client_ports(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    ports = {n.client_port for n in cluster.nodes.values()}
    for node in cluster.nodes.values():
        with node.raw() as c:
            role = c.call("ROLE")
            if node is leader:
                assert role[0] == b"master"
            else:
                assert role[:3] == [b"slave", b"127.0.0.1", leader.client_port]

            def slots_known():
                slots = c.call("CLUSTER", "SLOTS")
                named = {row[1] for entry in slots for row in entry[2:]}
                return named == ports and slots[0][2][1] == leader.client_port
            wait_for(slots_known, "CLUSTER SLOTS names every node's client port, the leader first")
