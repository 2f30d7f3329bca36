# SPDX-License-Identifier: Apache-2.0
"""Exactly once: sessions and keys, through every door, while leaders die."""
import concurrent.futures
import subprocess
import threading
import time

import requests

from kelp import Error, Gone, wait_for

COUNTERS = 4
EACH = 400  # numbers of each session


def url(node, path):
    return f"http://127.0.0.1:{node.http_port}{path}"


def ask_until_known(cluster, words, turn=0):
    """The same words at one node after the other until the answer is no error of this attempt."""
    nodes = list(cluster.nodes.values())
    attempts = 0
    while True:
        node = nodes[(turn + attempts) % len(nodes)]
        attempts += 1
        try:
            with node.raw(timeout=10) as c:
                answer = c.call(*words)
            if not isinstance(answer, Error):
                return answer, attempts
            assert answer.code in ("UNCERTAIN", "TRYAGAIN", "CLUSTERDOWN", "LOADING"), answer
        except Gone:
            time.sleep(0.01)
        assert attempts < 3000, words


def test_what_is_repeated_is_answered_from_memory(make_cluster):
    cluster = make_cluster(3)
    cluster.wait_leader()
    with cluster.nodes[1].raw() as one, cluster.nodes[2].raw() as two:
        session = one.call("RAFT", "SESSION", "NEW")
        assert isinstance(session, int) and session > 0
        assert one.call("RAFT", "ONCE", session, 1, "INCR", "n") == 1
        assert two.call("RAFT", "ONCE", session, 1, "INCR", "n") == 1
        assert two.call("RAFT", "ONCE", session, 2, "APPEND", "s", "ab") == 2
        assert one.call("RAFT", "ONCE", session, 2, "APPEND", "s", "ab") == 2
        assert one.call("GET", "s") == b"ab"
        # An error is a result, too.
        assert one.call("RAFT", "ONCE", session, 3, "INCR", "s").startswith("ERR value is not")
        assert one.call("SET", "s", "5") == "OK"
        assert one.call("RAFT", "ONCE", session, 3, "INCR", "s").startswith("ERR value is not")
        misused = one.call("RAFT", "ONCE", session, 1, "INCR", "m")
        assert misused.startswith("ERR ONCE_MISUSED"), misused
        assert one.call("RAFT", "ONCE", session, 5, "ACK", 4, "INCR", "n") == 2
        over = two.call("RAFT", "ONCE", session, 1, "INCR", "n")
        assert over.startswith("ERR SEQUENCE_OVER"), over
        unknown = two.call("RAFT", "ONCE", session + 1000, 1, "INCR", "n")
        assert unknown.startswith("ERR UNKNOWN_SESSION"), unknown
        assert "earlier attempts" in unknown
        assert two.call("RAFT", "SESSION", "END", session) == "OK"
        assert one.call("RAFT", "ONCE", session, 6, "INCR", "n").startswith("ERR UNKNOWN_SESSION")
        assert one.call("GET", "n") == b"2" and one.call("GET", "m") is None
        assert one.call("RAFT", "ONCE", 1, 1, "RAFT", "STATUS").startswith("ERR BAD_REQUEST")
        assert one.call("RAFT", "ONCE", 1, 0, "INCR", "n").startswith("ERR BAD_REQUEST")
        assert one.call("RAFT", "ONCE", 7, 3, "ACK", 3, "INCR", "n").startswith("ERR BAD_REQUEST")
        assert one.call("RAFT", "ONCE", "KEY", "", "INCR", "n").startswith("ERR BAD_REQUEST")
        # The level holds for one command: what follows is an ordinary write.
        assert one.call("RAFT", "ONCE", "KEY", "k", "INCR", "n") == 3
        assert one.call("INCR", "n") == 4
        assert two.call("RAFT", "ONCE", "KEY", "k", "INCR", "n") == 3
        # A command that reads is a read.
        assert one.call("RAFT", "ONCE", "KEY", "r", "GET", "n") == b"4"


def test_counters_count_each_number_once_while_leaders_are_killed(make_cluster):
    cluster = make_cluster(3)
    cluster.wait_leader()
    done, attempts, wrong = [0] * COUNTERS, [0] * COUNTERS, []

    def count(which):
        try:
            session, _ = ask_until_known(cluster, ("RAFT", "SESSION", "NEW"))
            for number in range(1, EACH + 1):
                words = ("RAFT", "ONCE", session, number, "INCR", f"n{which}")
                if number % 7 == 0:
                    words = words[:4] + ("ACK", number - 1) + words[4:]
                answer, tries = ask_until_known(cluster, words, turn=number + which)
                attempts[which] += tries
                if answer != number:
                    wrong.append((which, number, answer))
                done[which] = number
        except AssertionError as error:
            wrong.append((which, repr(error)))

    threads = [threading.Thread(target=count, args=(i,), daemon=True) for i in range(COUNTERS)]
    for thread in threads:
        thread.start()
    for turn in range(6):
        leader = cluster.wait_leader()
        before = sum(done)
        wait_for(lambda: sum(done) > before + 40 or wrong or min(done) == EACH, "they count")
        leader.kill()
        if turn == 3:  # what was executed is known after a snapshot, too
            with cluster.wait_leader(other_than=leader).raw() as c:
                c.call("RAFT", "SNAPSHOT", "NOW")
        cluster.wait_leader()
        leader.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    assert not wrong, wrong[:5]
    cluster.wait_equal(60)
    for node in cluster.nodes.values():
        with node.raw() as c:
            for which in range(COUNTERS):
                assert c.call("GET", f"n{which}") == b"%d" % EACH
    print(f"{COUNTERS * EACH} numbers, {sum(attempts)} attempts")


def test_sessions_survive_a_restart_from_a_snapshot(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    with leader.raw() as c:
        session = c.call("RAFT", "SESSION", "NEW")
        for number in range(1, 41):
            assert c.call("RAFT", "ONCE", session, number, "INCR", "n") == number
        assert c.call("RAFT", "ONCE", "KEY", "k", "INCR", "n") == 41
    for node in cluster.nodes.values():
        with node.raw() as c:
            c.call("RAFT", "SNAPSHOT", "NOW")
        wait_for(lambda n=node: (n.number("snapshot_index") or 0) >= 43, "a snapshot")
    for node in cluster.nodes.values():
        node.kill()
    for node in cluster.nodes.values():
        node.start()
    with cluster.wait_leader().raw() as c:
        for number in range(1, 41):
            assert c.call("RAFT", "ONCE", session, number, "INCR", "n") == number
        assert c.call("RAFT", "ONCE", "KEY", "k", "INCR", "n") == 41
        assert c.call("GET", "n") == b"41"


def test_idempotency_keys_over_http(make_cluster):
    cluster = make_cluster(3)
    cluster.wait_leader()
    one, two = cluster.nodes[1], cluster.nodes[2]
    key = {"Idempotency-Key": "order-17"}
    first = requests.put(url(one, "/v1/kv/a"), data=b"1", headers=key, timeout=10)
    assert first.status_code == 200
    assert requests.put(url(two, "/v1/kv/a"), data=b"2", timeout=10).status_code == 200
    again = requests.put(url(two, "/v1/kv/a"), data=b"1", headers=key, timeout=10)
    assert again.status_code == 200
    assert requests.get(url(one, "/v1/kv/a"), timeout=10).content == b"2"  # not written again
    other = requests.put(url(one, "/v1/kv/a"), data=b"3", headers=key, timeout=10)
    assert other.status_code == 422 and other.json()["error"] == "ONCE_MISUSED"
    gone = {"Idempotency-Key": "order-18"}
    assert requests.delete(url(one, "/v1/kv/a"), headers=gone, timeout=10).json()["deleted"]
    assert requests.put(url(one, "/v1/kv/a"), data=b"4", timeout=10).status_code == 200
    assert requests.delete(url(two, "/v1/kv/a"), headers=gone, timeout=10).json()["deleted"]
    assert requests.get(url(one, "/v1/kv/a"), timeout=10).content == b"4"
    empty = {"Idempotency-Key": ""}
    assert requests.put(url(one, "/v1/kv/a"), data=b"5", headers=empty,
                        timeout=10).status_code == 400


def test_the_command_line_goes_past_a_silent_node(make_cluster):
    cluster = make_cluster(3)
    cluster.wait_leader()
    silent = cluster.followers()[0]
    others = [n for n in cluster.nodes.values() if n is not silent]
    silent.pause()
    at = ",".join(f"127.0.0.1:{n.client_port}" for n in [silent] + others)
    try:
        put = cluster.kelp("set", "k", "v", at=at)
        assert put.returncode == 0 and put.stdout == "OK\n", put
        deleted = cluster.kelp("del", "k", at=at)
        assert deleted.returncode == 0 and deleted.stdout == "1\n", deleted
    finally:
        silent.resume()


def test_command_lines_while_leaders_are_killed_write_once(make_cluster):
    cluster = make_cluster(3)
    cluster.wait_leader()
    at = ",".join(f"127.0.0.1:{n.client_port}" for n in cluster.nodes.values())
    stop = threading.Event()

    def write(which):
        written = 0
        while not stop.is_set():
            result = cluster.kelp("set", f"c{which}-{written}", "v", at=at)
            assert result.returncode == 0, (result.stdout, result.stderr)
            written += 1
        return written

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, i) for i in range(3)]
        for _ in range(3):
            time.sleep(0.3)
            leader = cluster.wait_leader()
            leader.kill()
            cluster.wait_leader()
            leader.start()
        stop.set()
        written = [w.result(timeout=60) for w in writers]
    with cluster.wait_leader().raw() as c:
        keys = {key.decode() for key in c.call("KEYS", "c*")}
    assert keys == {f"c{which}-{i}" for which in range(3) for i in range(written[which])}
