# SPDX-License-Identifier: Apache-2.0
"""Leadership moves under load, asked for and at SIGTERM, and no client sees an error."""
import json
import statistics
import subprocess
import threading
import time
import urllib.error
import urllib.request

from kelp import Error, Gone, wait_for
from load import Ledger

TRANSFERS = 20


def transfer(cluster, target=None, through=None):
    node = through or cluster.nodes[1]
    with node.raw() as c:
        answer = c.call("RAFT", "TRANSFER", *([target.id] if target else []))
    assert not isinstance(answer, Error), answer
    name, leader = answer.split(" ")[1].split("=")
    assert answer.startswith("OK ") and name == "leader"
    return cluster.nodes[int(leader)]


def test_20_transfers_under_load_show_no_client_an_error(make_cluster):
    cluster = make_cluster(3, heartbeat_ms=100, election_ms=1000)
    gaps = []
    with Ledger(cluster) as ledger:
        wait_for(lambda: ledger.count > 50, "50 writes")
        for turn in range(TRANSFERS):
            before = cluster.leader()
            target = cluster.nodes[before.id % 3 + 1] if turn % 2 == 0 else None
            ledger.reset_gap()
            after = transfer(cluster, target, cluster.nodes[turn % 3 + 1])
            assert after is not before and (target is None or after is target)
            count = ledger.count
            wait_for(lambda: ledger.count > count + 20, "writes go on")
            gaps.append(ledger.longest_gap())
        assert cluster.leader() is after
    cluster.wait_equal(60)
    for node in cluster.nodes.values():
        ledger.check(node)
    print(f"{TRANSFERS} transfers: longest time without a write, median "
          f"{statistics.median(gaps) * 1000:.0f} ms, worst {max(gaps) * 1000:.0f} ms; "
          f"{ledger.count} OK, {len(ledger.refused)} refused, {len(ledger.uncertain)} uncertain")
    assert not ledger.refused and not ledger.uncertain and ledger.incr_uncertain == 0
    assert max(gaps) < 1.0, "somebody waited for an election timeout"


def test_a_leader_that_is_stopped_hands_over_first(make_cluster):
    cluster = make_cluster(3, heartbeat_ms=100, election_ms=2000)
    leader = cluster.leader()
    others = [n for n in cluster.nodes.values() if n is not leader]
    errors, counts, stop = [], [0, 0], threading.Event()
    last, gap = [time.monotonic()], [0.0]
    lock = threading.Lock()

    def write(index):
        with others[index].raw() as c:
            while not stop.is_set():
                answer = c.call("SET", f"stop:{index}:{counts[index]}", "v")
                with lock:
                    now = time.monotonic()
                    gap[0] = max(gap[0], now - last[0])
                    last[0] = now
                if answer != "OK":
                    errors.append(answer)
                counts[index] += 1

    threads = [threading.Thread(target=write, args=(i,), daemon=True) for i in range(2)]
    for thread in threads:
        thread.start()
    wait_for(lambda: min(counts) > 20, "writes through both followers")
    assert leader.stop() == 0
    after = list(counts)
    wait_for(lambda: min(counts[i] - after[i] for i in range(2)) > 20, "writes go on")
    stop.set()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    print(f"SIGTERM of the leader: longest time without a write {gap[0] * 1000:.0f} ms, "
          f"{sum(counts)} writes, errors {errors}")
    assert not errors
    assert gap[0] < 2.0, "somebody waited for an election timeout"
    assert "hands leadership over" in leader.log()


def test_who_cannot_lead_is_refused_with_the_reason(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.leader()
    follower = next(n for n in cluster.nodes.values() if n is not leader)
    with follower.raw() as c:
        for words, code, reason in [((leader.id,), "ERR", "SELF"), ((9,), "ERR", "UNKNOWN_MEMBER"),
                                    (("x",), "ERR", "number"), ((1, 2), "ERR", "wrong number")]:
            answer = c.call("RAFT", "TRANSFER", *words)
            assert isinstance(answer, Error) and answer.code == code and reason in answer, answer
        assert c.call("SET", "a", "1") == "OK"
        c.send("SET", "a", "2")  # a connection is a sequence
        c.send("RAFT", "TRANSFER", follower.id)
        c.send("GET", "a")
        assert c.read() == "OK"
        assert c.read() == f"OK leader={follower.id}"
        assert c.read() == b"2"
    assert cluster.leader() is follower


def test_a_dead_target_leaves_the_leader_in_place(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.leader()
    dead = next(n for n in cluster.nodes.values() if n is not leader)
    dead.kill()
    with leader.raw() as c:
        c.send("RAFT", "TRANSFER", dead.id)
        answer = c.read()
        assert isinstance(answer, Error) and answer.code in ("TRYAGAIN", "UNCERTAIN"), answer
        assert c.call("SET", "after", "1") == "OK"
    assert cluster.leader() is leader


def post(node, path, body, headers=()):
    request = urllib.request.Request(f"http://127.0.0.1:{node.http_port}{path}", data=body,
                                     method="POST", headers=dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_command_line_and_http_say_the_same(make_cluster, program):
    cluster = make_cluster(3)
    leader = cluster.leader()
    first, second = [n for n in cluster.nodes.values() if n is not leader]
    status, body = post(second, "/v1/raft/transfer", json.dumps({"id": first.id}).encode())
    assert (status, body) == (200, {"leader": first.id})
    wait_for(lambda: cluster.leader() is first, "the first leads")
    assert post(second, "/v1/raft/transfer", b"[]")[0] == 400
    assert post(second, "/v1/raft/transfer", json.dumps({"id": 0}).encode())[0] == 400
    page = {"Origin": "http://elsewhere.example"}
    assert post(second, "/v1/raft/transfer", b"", page)[0] == 403
    assert post(second, "/v1/raft/transfer", json.dumps({"id": 9}).encode()) [1]["error"] == \
        "UNKNOWN_MEMBER"
    assert cluster.leader() is first
    at = f"127.0.0.1:{leader.client_port}"
    run = subprocess.run([program, "transfer", str(second.id), "--at", at], text=True,
                         capture_output=True, timeout=30, check=False)
    assert (run.returncode, run.stdout) == (0, f"node {second.id} leads now\n"), run
    run = subprocess.run([program, "transfer", "--json", "--at", at], text=True,
                         capture_output=True, timeout=30, check=False)
    assert run.returncode == 0 and json.loads(run.stdout)["leader"] != second.id
    run = subprocess.run([program, "transfer", "9", "--at", at], text=True, capture_output=True,
                         timeout=30, check=False)
    assert run.returncode == 1 and "UNKNOWN_MEMBER" in run.stderr
    try:
        with leader.raw() as c:
            assert c.call("PING") == "PONG"
    except Gone as error:
        raise AssertionError("the old leader serves on") from error
