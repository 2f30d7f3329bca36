# SPDX-License-Identifier: Apache-2.0
"""The membership of a running cluster, changed over RESP and from the command line."""
import http.client as http_client
import json
import socket
import threading
import time
import types

import pytest

from kelp import ELECTION_MS, Error, free_ports, wait_for
from load import Ledger


def peer(node):
    return f"127.0.0.1:{node.peer_port}"


def members(node):
    """RAFT MEMBERS: (head, {id: {name: value}})."""
    with node.raw() as c:
        head, *lines = c.call("RAFT", "MEMBERS")
    rows = {}
    for line in lines:
        fields = dict(word.split(":", 1) for word in line.decode().split(" "))
        if "id" in fields:  # else it is somebody who waits to be added
            rows[int(fields["id"])] = fields
    return dict(w.split("=") for w in head.decode().split(" ") if "=" in w), rows


def roles(node):
    return {i: row["role"] for i, row in members(node)[1].items()}


def change(node, *words):
    """The answer to a change: ("OK", index), or the error."""
    with node.raw(timeout=90) as c:
        answer = c.call("RAFT", *words)
    if isinstance(answer, Error):
        return answer
    word, index = answer.split(" ")
    assert word == "OK" and index.startswith("index=")
    return "OK", int(index.removeprefix("index="))


def done(node, *words):
    answer = change(node, *words)
    assert not isinstance(answer, Error), answer
    return answer[1]


def test_one_grows_to_three_and_five_and_shrinks_to_one_under_load(make_cluster):
    cluster = make_cluster(5, founders=1)
    first = cluster.nodes[1]
    steady = types.SimpleNamespace(nodes={1: first})
    with Ledger(steady, writers=2) as ledger:
        wait_for(lambda: ledger.count > 20, "the load runs")
        for number in (2, 3, 4, 5):
            done(first, "ADD", number, peer(cluster.nodes[number]))
            assert roles(first) == {i: "voter" for i in range(1, number + 1)}
        for node in cluster.nodes.values():
            wait_for(lambda n=node: len(members(n)[1]) == 5, f"node {node.id} knows all")
        before = ledger.count
        wait_for(lambda: ledger.count > before + 20, "five take writes")
        leader = cluster.leader()
        for number in (5, 4, 3, 2):
            if leader is not None and leader.id == number:
                continue  # that one goes last, below
            done(first, "REMOVE", number)
            assert number not in roles(first)
            wait_for(lambda n=number: cluster.nodes[n].status()["role"] == "removed",
                     f"node {number} knows that it was removed")
        if leader is not None and leader.id != 1:
            done(first, "REMOVE", leader.id)
        before = ledger.count
        wait_for(lambda: ledger.count > before + 20, "one takes writes")
        assert list(roles(first)) == [1]
    assert not ledger.refused and not ledger.uncertain, (ledger.refused, ledger.uncertain)
    ledger.check(first)


def test_a_node_is_replaced_by_one_request(make_cluster):
    cluster = make_cluster(4, founders=3)
    leader = cluster.wait_leader()
    old = cluster.followers()[0]
    if old.id == 4:
        old = cluster.followers()[1]
    old.kill()
    with leader.raw() as c:
        assert c.call("SET", "before", "1") == "OK"
    done(leader, "REPLACE", old.id, 4, peer(cluster.nodes[4]))
    ids = sorted({1, 2, 3, 4} - {old.id})
    assert roles(leader) == {i: "voter" for i in ids}
    with cluster.nodes[4].raw() as c:  # it serves like any other
        assert c.call("GET", "before") == b"1"
    cluster.wait_equal()
    old.start()  # its directory is of a member that is gone
    wait_for(lambda: (old.status() or {}).get("role") == "removed", "the old one knows it")


def test_a_change_may_be_asked_of_any_member_and_says_what_is_wrong(make_cluster):
    cluster = make_cluster(4, founders=3)
    leader = cluster.wait_leader()
    follower = [n for n in cluster.followers() if n.id != 4][0]
    four = peer(cluster.nodes[4])
    index = done(follower, "ADD", 4, four, "LEARNER")
    assert roles(leader)[4] == "learner"
    assert done(follower, "ADD", 4, four, "LEARNER") == index  # asked again: it is so
    for words, error in [
            (("ADD", 4, four), "ERR IS_LEARNER node=4"),
            (("ADD", 5, four), "ERR ADDRESS_USED node=5"),
            (("PROMOTE", 9), "ERR UNKNOWN_MEMBER node=9"),
            (("ADD", 9, "127.0.0.1:1"), "TRYAGAIN NOT_REACHED node=9"),
            (("REMOVE", 4, "IF", index + 7), f"ERR CONFIG_CHANGED index={index}"),
            (("ADD", 5, "nowhere"), "ERR BAD_REQUEST: no address 'nowhere'"),
            (("ADD", 5, four, "OBSERVER"), "ERR BAD_REQUEST: no role"),
            (("SET", f"4={four}/witness"), "ERR WITNESS_STAYS node=4"),
            (("REMOVE", "x"), "ERR BAD_REQUEST: no id 'x'"),
            (("REMOVE", 4, "AT", "once"), "ERR BAD_REQUEST: makes no sense here: 'AT'")]:
        answer = change(follower, *words)
        assert isinstance(answer, Error) and answer.startswith(error), (words, answer)
    later = done(follower, "PROMOTE", 4, "IF", index)
    assert later > index and roles(leader)[4] == "voter"
    head, _ = members(leader)
    assert head == {"committed": str(later), "latest": str(later)}
    done(follower, "REMOVE", 4)
    answer = change(follower, "ADD", 4, four)
    assert isinstance(answer, Error) and answer.startswith("ERR ID_USED node=4"), answer


def test_a_leader_that_removes_itself_is_followed_by_another(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    done(leader, "REMOVE", leader.id)
    wait_for(lambda: leader.status()["role"] == "removed", "it knows")
    other = cluster.wait_leader(other_than=leader)
    assert leader.id not in roles(other) and len(roles(other)) == 2
    leader.stop()
    with other.raw() as c:
        assert c.call("SET", "after", "1") == "OK"


@pytest.mark.parametrize("on_follower", ["forward", "moved"])
def test_a_removed_node_says_at_once_where_to_go(make_cluster, on_follower):
    cluster = make_cluster(3, on_follower=on_follower)
    leader = cluster.wait_leader()
    gone = cluster.followers()[0]
    with leader.raw() as c:
        assert c.call("SET", "k", "v") == "OK"
    cluster.wait_equal()
    done(leader, "REMOVE", gone.id)
    wait_for(lambda: gone.status()["role"] == "removed" and gone.number("leader_id") == 0,
             "it knows")
    there = f"127.0.0.1:{leader.client_port}"
    with gone.raw() as c:
        for words in (("SET", "k", "w"), ("GET", "k"), ("RAFT", "REMOVE", "1"),
                      ("RAFT", "TRANSFER"), ("RAFT", "PLAN", "REMOVE", "1")):
            before = time.monotonic()
            answer = c.call(*words)
            assert time.monotonic() - before < ELECTION_MS / 1000, words  # it waits for nothing
            assert isinstance(answer, Error), (words, answer)
            if on_follower == "moved":
                assert answer.startswith("MOVED ") and answer.endswith(there), answer
            else:
                assert answer.startswith(f"CLUSTERDOWN REMOVED at={there}: "), answer
        assert c.call("RAFT", "WITH", "any", "GET", "k") == b"v"
    answer, said = http_whole(gone, "GET", "/v1/kv/k")
    http_there = f"127.0.0.1:{leader.http_port}"
    assert said["error"] == "REMOVED" and said["at"] == http_there, said
    if on_follower == "moved":
        assert answer.status == 307
        assert answer.getheader("Location") == f"http://{http_there}/v1/kv/k"
    else:
        assert answer.status == 503 and answer.getheader("Retry-After") is None
    answer, said = http_whole(gone, "GET", "/readyz")
    assert answer.status == 503 and said["error"] == "REMOVED", said
    gone.stop()  # it knows it after a start, too, or hears of it
    gone.start()
    wait_for(lambda: (gone.status() or {}).get("role") == "removed", "it knows again")
    with gone.raw() as c:
        answer = c.call("SET", "k", "w")
    word = "MOVED" if on_follower == "moved" else "CLUSTERDOWN REMOVED"  # an address it may lack
    assert isinstance(answer, Error) and (answer.startswith(word) or "REMOVED" in answer), answer


def test_the_command_line_goes_on_from_who_cannot_serve(make_cluster):
    cluster = make_cluster(4, founders=3)
    leader = cluster.wait_leader()
    waits = cluster.nodes[4]
    gone = next(n for n in cluster.followers() if n is not waits)
    done(leader, "REMOVE", gone.id)
    wait_for(lambda: gone.status()["role"] == "removed" and gone.number("leader_id") == 0,
             "it knows")
    at = [f"127.0.0.1:{n.client_port}" for n in (gone, waits, leader)]
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    whole = ",".join([nobody, *at])
    run = cluster.kelp("set", "k", "v", at=whole)
    assert run.returncode == 0 and run.stderr == "", run
    run = cluster.kelp("get", "k", at=whole)
    assert run.returncode == 0 and run.stdout == "v\n", run
    run = cluster.kelp("members", "list", at=whole)
    assert run.returncode == 0 and f"id:{gone.id} " not in run.stdout, run
    run = cluster.kelp("members", "plan", "demote", str(leader.id), at=whole)
    assert run.stderr == "", run
    run = cluster.kelp("set", "k", "w", at=",".join([nobody, *at[:2]]))  # and if none is left
    assert run.returncode == 1, run
    for words in (f"{nobody}: ", f"{at[0]}: CLUSTERDOWN REMOVED", f"{at[1]}: CLUSTERDOWN NOT_ST"):
        assert words in run.stderr, run
    run = cluster.kelp("set", "k", "w", at=at[0])
    assert run.returncode == 1 and f"CLUSTERDOWN REMOVED at={at[2]}" in run.stderr, run
    with leader.raw() as c:
        assert c.call("GET", "k") == b"v"


def who_takes_and_closes(cluster, *words):
    """What a node that takes one request and dies was asked, and how the command ended."""
    leader = cluster.wait_leader()
    listener = socket.create_server(("127.0.0.1", 0))
    asked = []

    def takes_and_closes():
        connection, _ = listener.accept()
        asked.append(connection.recv(1000))
        connection.close()
    thread = threading.Thread(target=takes_and_closes)
    thread.start()
    port = listener.getsockname()[1]
    run = cluster.kelp(*words, at=f"127.0.0.1:{port},127.0.0.1:{leader.client_port}")
    thread.join()
    listener.close()
    return asked[0], run


def test_what_may_have_happened_is_not_asked_again_elsewhere(make_cluster):
    cluster = make_cluster(1)
    asked, run = who_takes_and_closes(cluster, "members", "add", "9", "127.0.0.1:9", "learner")
    assert b"add" in asked
    assert run.returncode == 1 and "the outcome is unknown" in run.stderr, run
    assert set(roles(cluster.wait_leader())) == {1}


def test_what_is_executed_once_is_asked_again_elsewhere(make_cluster):
    cluster = make_cluster(1)
    asked, run = who_takes_and_closes(cluster, "set", "k", "v")
    assert b"ONCE" in asked and b"SET" in asked
    assert run.returncode == 0 and run.stdout == "OK\n", run
    with cluster.wait_leader().raw() as c:
        assert c.call("GET", "k") == b"v"


def test_a_leader_that_stops_when_it_is_removed_says_so_first(make_cluster):
    for turn in range(10):
        cluster = make_cluster(3, when_removed="stop")
        with Ledger(cluster, writers=3) as ledger:
            wait_for(lambda: ledger.count > 20, "the load runs")
            leader = cluster.wait_leader()
            done(leader, "REMOVE", leader.id)  # the answer to it is the next leader's
            assert leader.wait_exit() == 0
            before = ledger.count
            wait_for(lambda: ledger.count > before + 20, "two take writes")
        for error in ledger.errors:  # what it cannot take any more is refused
            assert error.startswith(("TRYAGAIN ", "CLUSTERDOWN REMOVED ")), (turn, ledger.errors)
        ledger.check(next(n for n in cluster.nodes.values() if n is not leader))
        cluster.end()


def test_members_on_the_command_line(make_cluster):
    cluster = make_cluster(2, founders=1)
    run = cluster.kelp("members", "add", "2", peer(cluster.nodes[2]))
    assert run.returncode == 0 and run.stdout.startswith("OK index="), run
    run = cluster.kelp("members")
    assert run.returncode == 0, run
    assert [line.split()[:2] for line in run.stdout.splitlines()[1:]] == [
        ["id:1", "role:voter"], ["id:2", "role:voter"]]
    listed = cluster.kelp_json("members", "list")
    assert [m["id"] for m in listed["members"]] == ["1", "2"]
    run = cluster.kelp("members", "promote", "7")
    assert run.returncode == 1 and "UNKNOWN_MEMBER" in run.stderr, run
    run = cluster.kelp("members", "remove", "2")
    assert run.returncode == 0, run


def http_whole(node, method, path, body=None):
    """(the answer with its headers, JSON) of a request."""
    connection = http_client.HTTPConnection("127.0.0.1", node.http_port, timeout=90)
    connection.request(method, path, body=None if body is None else json.dumps(body))
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    return answer, said


def http(node, method, path, body=None):
    """(status, JSON) of a request."""
    answer, said = http_whole(node, method, path, body)
    return answer.status, said


def test_members_over_http(make_cluster):
    cluster = make_cluster(3, founders=2)
    leader = cluster.wait_leader()
    follower = [n for n in (cluster.nodes[1], cluster.nodes[2]) if n is not leader][0]
    three = {"id": 3, "address": peer(cluster.nodes[3]), "role": "learner"}
    status, said = http(follower, "POST", "/v1/raft/add", three)
    assert status == 200, said
    index = said["index"]
    status, page = http(leader, "GET", "/v1/members")
    assert status == 200 and page["committed"] == page["latest"] == index and not page["joint"]
    assert [(m["id"], m["role"]) for m in page["members"]] == [
        (1, "voter"), (2, "voter"), (3, "learner")]
    assert page["members"][2]["address"] == three["address"]
    for verb, body, wanted, error in [
            ("promote", {"id": 9}, 400, "UNKNOWN_MEMBER"),
            ("promote", {"id": 3, "if": index + 1}, 400, "CONFIG_CHANGED"),
            ("promote", {"id": "x"}, 400, "BAD_REQUEST"),
            ("promote", [3], 400, "BAD_REQUEST"),
            ("promote", {"id": 3, "force": 1}, 400, "BAD_REQUEST")]:
        status, said = http(follower, "POST", f"/v1/raft/{verb}", body)
        assert (status, said["error"]) == (wanted, error), (verb, body, status, said)
    assert http(leader, "GET", "/v1/raft/promote")[0] == 405
    assert http(leader, "POST", "/v1/members")[0] == 405
    status, said = http(follower, "POST", "/v1/raft/promote", {"id": 3, "if": index})
    assert status == 200 and roles(leader)[3] == "voter", said


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))


def test_two_nodes_and_a_witness_go_on_without_either_of_them(make_cluster):
    cluster = make_cluster(3, founders=2)
    leader = cluster.wait_leader()
    witness = cluster.nodes[3]
    done(leader, "ADD", 3, peer(witness), "WITNESS")
    assert roles(leader) == {1: "voter", 2: "voter", 3: "witness"}
    assert members(leader)[1][3]["in"] == "no"
    wait_for(lambda: http(witness, "GET", "/readyz")[1].get("member") == "witness", "it is one")
    said = cluster.kelp("status", at=f"127.0.0.1:{leader.client_port}").stdout
    assert " 3 witness " in said and said.count(" follower ") == 1, said
    with leader.raw() as c:
        assert c.call("SET", "before", "1") == "OK"
    assert change(leader, "PROMOTE", 3).startswith("ERR WITNESS_STAYS node=3")
    leader.kill()
    other = cluster.nodes[3 - leader.id]
    wait_for(lambda: other.status()["role"] == "leader", "the other one leads")
    with other.raw(timeout=30) as c:
        assert c.call("SET", "after", "2") == "OK"
        assert c.call("GET", "before") == b"1"
    wait_for(lambda: members(other)[1][3]["in"] == "yes", "the witness is in")
    assert members(other)[1][leader.id]["absent"] == "yes"
    leader.start()
    wait_for(lambda: members(other)[1][3]["in"] == "no", "the witness is out")
    assert "absent" not in members(other)[1][leader.id]
    cluster_nodes = [leader, other]
    wait_for(lambda: len({n.status()["applied_index"] for n in cluster_nodes}) == 1, "both equal")
    with witness.raw(timeout=30) as c:  # any node serves, by way of the leader
        assert c.call("GET", "after") == b"2"


def test_a_witness_that_knows_more_lets_nobody_lead_and_the_status_says_who_must_come_back(
        make_cluster):
    cluster = make_cluster(3, founders=2)
    leader = cluster.wait_leader()
    witness, behind = cluster.nodes[3], cluster.nodes[3 - leader.id]
    done(leader, "ADD", 3, peer(witness), "WITNESS")
    behind.kill()
    wait_for(lambda: members(leader)[1][3]["in"] == "yes", "the witness is in")
    with leader.raw() as c:
        assert c.call("SET", "only", "here") == "OK"  # and the witness knows of it
    leader.kill()
    behind.start()
    at = f"127.0.0.1:{behind.client_port},127.0.0.1:{witness.client_port}"
    words = "2 of 3 voters answer, 2 are needed, but none of them can win: node 3, a witness, " \
            f"knows of newer entries than node {behind.id}; node {leader.id} must come back"
    wait_for(lambda: http(witness, "GET", "/readyz")[0] == 503, "the witness knows no leader")
    wait_for(lambda: f", no leader: {words}\n" in cluster.kelp("status", at=at).stdout,
             "it says so")
    leader.start()
    with cluster.wait_leader().raw() as c:
        assert c.call("GET", "only") == b"here"


def test_leadership_goes_to_the_highest_priority_and_never_to_0(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    other, last = [node for node in cluster.nodes.values() if node is not leader]
    with Ledger(cluster, writers=2) as ledger:
        wait_for(lambda: ledger.count > 20, "the load runs")
        ran = cluster.kelp("members", "plan", "priority", str(other.id), "9")
        said = f"leader: {leader.id} now, then probably {other.id}"
        assert ran.returncode == 0 and said in ran.stdout and "higher priority" in ran.stdout, ran
        index = done(last, "PRIORITY", other.id, 9)
        assert done(leader, "PRIORITY", other.id, 9) == index
        wait_for(lambda: cluster.leader() is other, "the preferred leads")
        assert members(other)[1][other.id]["priority"] == "9"
        done(other, "PRIORITY", other.id, 0)
        wait_for(lambda: cluster.leader() not in (None, other), "another leads")
    assert not ledger.refused and not ledger.uncertain, (ledger.refused, ledger.uncertain)
    with leader.raw() as c:
        refused = c.call("RAFT", "TRANSFER", str(other.id))
    assert isinstance(refused, Error) and "NEVER_LEADS" in refused, refused
    lead = cluster.wait_leader()
    change(lead, "PRIORITY", last.id, 0)
    refused = change(lead, "PRIORITY", leader.id, 0, "FORCE")
    assert isinstance(refused, Error) and "NOBODY_LEADS" in refused, refused
    wait_for(lambda: cluster.leader() is leader, "the only one that may lead does")
    leader.kill()
    wait_for(lambda: other.status()["leader_id"] == "0", "nobody leads")
    leader.start()
    wait_for(lambda: cluster.leader() is leader, "it leads again")
    ran = cluster.kelp("members", "priority", str(last.id), "7")
    assert ran.returncode == 0 and ran.stdout.startswith("OK index="), ran
    assert members(leader)[1][last.id]["priority"] == "7"
    status, answer = http(leader, "POST", "/v1/raft/priority", {"id": last.id, "priority": 256})
    assert status == 400 and "0 to 255" in json.dumps(answer), answer
    status, answer = http(leader, "POST", "/v1/raft/priority", {"id": last.id, "priority": 1})
    assert status == 200, answer
