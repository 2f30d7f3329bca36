# SPDX-License-Identifier: Apache-2.0
"""How much a read may miss: for a connection, for one command, over HTTP, on the command line."""
import requests

from kelp import Error, wait_for


def url(node, key):
    return f"http://127.0.0.1:{node.http_port}/v1/kv/{key}"


def client(node):
    return f"127.0.0.1:{node.client_port}"


def refused(answer, words):
    assert isinstance(answer, Error), answer
    assert str(answer).startswith(words), answer


def test_every_level_on_every_node_sees_what_its_token_names(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    with leader.raw() as c:
        assert c.call("RAFT", "INDEX") == 0
        assert c.call("SET", "k", "1") == "OK"
        index = c.call("RAFT", "INDEX")
        assert index > 0
    levels = (["linearizable"], ["lease", "round"], ["stale", "60000"], ["any"], ["log"])
    for node in cluster.nodes.values():
        for level in levels:
            with node.raw() as c:
                assert c.call("RAFT", "READ", *level, "AFTER", str(index)) == "OK"
                assert c.call("GET", "k") == b"1", (node.id, level)
                assert c.call("RAFT", "INDEX") >= index
            with node.raw() as c:
                assert c.call("RAFT", "WITH", *level, "after", str(index), "GET", "k") == b"1"
            text = " ".join(level) + f" after {index}"
            got = requests.get(url(node, "k"), headers={"X-Kelp-Read": text}, timeout=10)
            assert got.content == b"1" and int(got.headers["X-Kelp-Index"]) >= index
            run = cluster.kelp("get", "k", "--read", text, at=client(node))
            assert run.stdout == "1\n", run.stderr


def test_a_connection_sees_its_own_writes_through_a_follower(make_cluster):
    cluster = make_cluster(3)
    cluster.wait_leader()
    with cluster.followers()[0].raw() as c:
        for i in range(200):  # pipelined
            c.send("SET", "k", str(i))
            c.send("GET", "k")
        for i in range(200):
            assert c.read() == "OK"
            assert c.read() == str(i).encode()


def test_without_a_leader_only_those_that_ask_nobody_are_answered(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    with leader.raw() as c:
        assert c.call("SET", "k", "1") == "OK"
    cluster.wait_equal()
    last = cluster.followers()[0]
    for node in cluster.nodes.values():
        if node is not last:
            node.kill()
    wait_for(lambda: last.status()["leader_id"] == "0", "no leader")
    with last.raw() as c:
        assert c.call("RAFT", "WITH", "any", "GET", "k") == b"1"
        assert c.call("RAFT", "WITH", "stale", "3600000", "GET", "k") == b"1"
        answer = c.call("RAFT", "WITH", "stale", "1", "GET", "k")
        refused(answer, "TRYAGAIN STALE_BEYOND contact_ms=")
        assert " applied_ms=0:" in str(answer)
        refused(c.call("RAFT", "WITH", "linearizable", "GET", "k"), "CLUSTERDOWN ")
    got = requests.get(url(last, "k"), headers={"X-Kelp-Read": "stale 1"}, timeout=10)
    assert got.status_code == 503 and got.json()["error"] == "STALE_BEYOND"
    assert got.json()["contact_ms"] >= 1 and got.json()["applied_ms"] == 0


def test_a_lease_that_nobody_holds_is_refused_and_bad_words_are_named(make_cluster):
    cluster = make_cluster(1)
    with cluster.wait_leader().raw() as c:
        refused(c.call("RAFT", "READ", "fresh"), "ERR BAD_REQUEST: a read level is ")
        refused(c.call("RAFT", "READ", "stale"), "ERR BAD_REQUEST: stale takes ")
        refused(c.call("RAFT", "READ", "any", "after", "0"), "ERR BAD_REQUEST: after takes ")
        refused(c.call("RAFT", "READ", "any", "GET", "k"), "ERR BAD_REQUEST: READ takes ")
        refused(c.call("RAFT", "WITH", "any", "PING"), "ERR BAD_REQUEST: WITH takes ")
        refused(c.call("RAFT", "WITH", "any", "GET"), "ERR wrong number of arguments")
        assert c.call("RAFT", "WITH", "any", "SET", "k", "2") == "OK"  # a write has no level
        assert c.call("GET", "k") == b"2"
    node = cluster.nodes[1]
    got = requests.get(url(node, "k"), headers={"X-Kelp-Read": "any any"}, timeout=10)
    assert got.status_code == 400 and "one level" in got.json()["advice"]
    for level in ("never", "", "any DEL", "any GET k", "stale", "stale DEL", "stale 5 after",
                  "lease round round", "log after x", "stale 5 after 1 DEL", "any after 1 2 3 4 5"):
        run = cluster.kelp("get", "k", "--read", level, at=client(node))
        assert run.returncode == 2 and "--read" in run.stderr, (level, run)
    for level in ("ANY", "lease round", "stale 60000 after 1", "log"):
        run = cluster.kelp("get", "k", "--read", level, at=client(node))
        assert (run.returncode, run.stdout) == (0, "2\n"), (level, run)


def test_http_names_the_index_of_whatever_an_answer_shows(make_cluster):
    cluster = make_cluster(3)
    follower = cluster.followers()[0]
    with follower.raw() as c:
        assert c.call("SET", "k", "1") == "OK"
        assert c.call("DEL", "k") == 1
        index = c.call("RAFT", "INDEX")
    gone = requests.get(url(follower, "k"), timeout=10)
    assert gone.status_code == 404
    assert int(gone.headers["X-Kelp-Index"]) >= index  # that it is gone is something to be seen
    assert "X-Kelp-Index" not in requests.get(
        url(follower, "k"), headers={"X-Kelp-Read": "never"}, timeout=10).headers


def lease(node):
    status = node.status()
    return status["lease"] if status else None


def test_reads_by_lease_need_one_and_status_says_why_not(make_cluster):
    cluster = make_cluster(3, lease_ms=200)
    leader = cluster.wait_leader()
    wait_for(lambda: lease(leader) == "held", "everybody has shown its settings")
    for node in cluster.nodes.values():
        with node.raw() as c:
            assert c.call("RAFT", "READ", "lease") == "OK"
            wait_for(lambda c=c: c.call("GET", "k") is None, "no error: the lease held")
    assert leader.number("lease_reads") >= 3
    assert leader.number("lease_left_ms") <= 200
    for node in cluster.followers():
        assert lease(node) == "not-leading"
        node.kill()
    wait_for(lambda: lease(leader) in ("lapsed", "not-leading"), "nobody answers any more")
    with leader.raw() as c:
        assert c.call("RAFT", "READ", "lease") == "OK"
        answer = c.call("GET", "k")
        assert isinstance(answer, Error), answer


def test_an_election_timeout_is_shortened_when_every_node_has_it(make_cluster):
    cluster = make_cluster(3, election_ms=600, lease_ms=200)
    leader = cluster.wait_leader()
    wait_for(lambda: lease(leader) == "held", "the configuration has the settings")
    cluster.settings["election-ms"] = 400
    for node in cluster.nodes.values():
        node.stop()
        node.start()
        cluster.wait_leader()
    leader = cluster.wait_leader()
    wait_for(lambda: lease(cluster.wait_leader()) == "held", "it was written anew")
    assert cluster.wait_leader().number("config_latest") > 1
