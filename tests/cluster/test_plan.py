# SPDX-License-Identifier: Apache-2.0
"""Plans: what a change or a stop would do, asked before it is done, against a running cluster."""
import types

import pytest

from kelp import Error, wait_for
from load import Ledger
from test_members import done, http, peer, roles


def pairs(line):
    return dict(word.split(":", 1) for word in line.split(" "))


def plan(node, *words):
    """RAFT PLAN: (verdict, {id: row}, sentences), or the error."""
    with node.raw(timeout=90) as c:
        answer = c.call("RAFT", "PLAN", *words)
    if isinstance(answer, Error):
        return answer
    lines = [line.decode() for line in answer]
    rows = [pairs(line) for line in lines[1:] if line.startswith("id:")]
    return pairs(lines[0]), {int(row["id"]): row for row in rows}, lines[1 + len(rows):]


def planned(node, *words):
    """It may be done; what it would do."""
    verdict, rows, sentences = plan(node, *words)
    assert verdict["may"] == "yes", (words, verdict)
    assert sentences[0].startswith("yes: "), sentences
    return verdict, rows


def test_one_grows_to_five_and_shrinks_to_one_by_asking_first(make_cluster):
    cluster = make_cluster(5, founders=1)
    first = cluster.nodes[1]
    with Ledger(types.SimpleNamespace(nodes={1: first}), writers=2) as ledger:
        wait_for(lambda: ledger.count > 20, "the load runs")
        for number in (2, 3, 4, 5):
            words = ("ADD", number, peer(cluster.nodes[number]))
            verdict, rows = planned(first, *words)
            assert rows[number]["before"] == "none" and rows[number]["catches_up"] == "yes"
            assert verdict["voters_after"] == str(number)
            assert ("EVEN" in verdict.get("warnings", "")) == (number % 2 == 0)
            done(first, *words, "IF", verdict["index"])  # made of what was planned
            after = {i: row["after"] for i, row in rows.items()}
            assert roles(first) == after
            said, _ = planned(first, *words)
            assert said["way"] == "nothing"
        stop, _ = planned(first, "STOP", 2)
        assert (stop["spare_before"], stop["spare_after"]) == ("2", "1")
        for number in (5, 4, 3, 2):
            leader = cluster.leader()
            assert leader is not None
            verdict, rows = planned(first, "REMOVE", number)
            assert ("LEADER_GOES" in verdict.get("warnings", "")) == (leader.id == number)
            done(first, "REMOVE", number, "IF", verdict["index"])
            assert roles(first) == {i: r["after"] for i, r in rows.items() if r["after"] != "none"}
        before = ledger.count
        wait_for(lambda: ledger.count > before + 20, "one takes writes")
    assert not ledger.refused and not ledger.uncertain, (ledger.refused, ledger.uncertain)
    ledger.check(first)


def test_what_would_stop_the_cluster_is_not_done_unless_it_is_forced(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    down, other = cluster.followers()
    verdict, _ = planned(other, "STOP", leader.id)  # asked of anybody
    assert "LEADER_GOES" in verdict["warnings"] and verdict["leader_next"] != str(leader.id)
    down.kill()
    wait_for(lambda: plan(other, "STOP", other.id)[0]["may"] == "no", "the silence is noticed")
    verdict, rows, sentences = plan(other, "STOP", other.id)
    assert verdict["reason"] == "QUORUM_AT_RISK" and verdict["works_after"] == "no"
    assert rows[down.id]["answers"] == "no" and rows[other.id]["stops"] == "yes"
    assert f"instead: start what does not answer, then ask again: {down.id}" in sentences
    assert planned(other, "STOP", down.id)[0]["live_after"] == "2"
    for words in (("REMOVE", other.id), ("DEMOTE", other.id)):
        verdict, _, _ = plan(leader, *words)
        with leader.raw(timeout=90) as c:
            answer = c.call("RAFT", *words)
        assert isinstance(answer, Error) and f"ERR {verdict['reason']}" in answer, answer
        assert verdict["reason"] == "QUORUM_AT_RISK" and verdict["forcible"] == "yes"
        assert plan(leader, *words, "FORCE")[0]["may"] == "yes"
    down.start()
    wait_for(lambda: plan(leader, "REMOVE", other.id)[0]["may"] == "yes", "it is back")


def test_plans_on_the_command_line_and_over_http(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    other = cluster.followers()[0]
    run = cluster.kelp("members", "plan", "stop", str(leader.id))
    assert run.returncode == 0 and run.stdout.startswith("yes: "), run
    assert "hands leadership over" in run.stdout, run
    run = cluster.kelp("members", "plan", "stop", "9")
    assert run.returncode == 1 and run.stdout.startswith("no: UNKNOWN_MEMBER node=9"), run
    said = cluster.kelp_json("members", "plan", "demote", str(other.id))
    assert said["may"] == "yes" and said["way"] == "step" and len(said["members"]) == 3
    run = cluster.kelp("members", "plan", "explode", "1")
    assert run.returncode == 2 and "no change of members 'explode'" in run.stderr, run
    status, page = http(other, "GET", f"/v1/raft/plan?verb=stop&id={leader.id}")
    assert status == 200 and page["may"] == "yes" and page["leader"] == leader.id, page
    status, page = http(other, "POST", "/v1/raft/plan", {"verb": "remove", "id": 9})
    assert status == 200 and (page["may"], page["reason"]) == ("no", "UNKNOWN_MEMBER"), page
    for body in ({}, {"verb": "remove"}, {"verb": "x", "id": 1}, {"verb": "stop", "id": "y"}):
        assert http(other, "POST", "/v1/raft/plan", body)[0] == 400, body
    assert http(other, "PUT", "/v1/raft/plan")[0] == 405


def test_a_drained_leader_is_stopped_and_no_client_sees_an_error(make_cluster):
    cluster = make_cluster(3, heartbeat_ms=100, election_ms=1000)
    with Ledger(cluster) as ledger:
        wait_for(lambda: ledger.count > 50, "the load runs")
        for _ in range(3):
            leader = cluster.wait_leader()
            run = cluster.kelp("drain", str(leader.id))  # found by the members' list
            assert run.returncode == 0 and run.stdout.startswith("drained: "), run
            assert leader.status()["drained"] == "yes" and leader.status()["role"] == "follower"
            after = cluster.wait_leader(other_than=leader)
            with after.raw() as c:
                answer = c.call("RAFT", "TRANSFER", leader.id)
            assert isinstance(answer, Error) and "DRAINED" in answer, answer
            status, page = http(leader, "GET", "/readyz")
            assert status == 503 and page["error"] == "DRAINED", page
            rows = pairs_of_members(after)
            assert rows[leader.id]["drained"] == "yes" and "drained" not in rows[after.id]
            count = ledger.count
            wait_for(lambda before=count: ledger.count > before + 50, "writes go on")
            status, page = http(leader, "POST", "/v1/raft/undrain")
            assert status == 200, page
            assert leader.status()["drained"] == "no"
        leader = cluster.wait_leader()
        status, page = http(leader, "POST", "/v1/raft/drain")
        assert status == 200 and page["leader"] != leader.id, page
    assert not ledger.refused and not ledger.uncertain, (ledger.refused, ledger.uncertain)
    leader.stop()
    leader.start()
    wait_for(lambda: (leader.status() or {}).get("drained") == "no", "a start ends it")


def pairs_of_members(node):
    with node.raw() as c:
        _, *lines = c.call("RAFT", "MEMBERS")
    rows = [pairs(line.decode()) for line in lines]
    return {int(row["id"]): row for row in rows}


def test_the_only_node_is_not_drained(make_cluster):
    cluster = make_cluster(1)
    run = cluster.kelp("drain")
    assert run.returncode == 1 and "NO_CANDIDATE" in run.stderr, run
    assert cluster.nodes[1].status()["drained"] == "no"
    run = cluster.kelp("undrain", "7")
    assert run.returncode == 1 and "node 7 is no member" in run.stderr, run


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
