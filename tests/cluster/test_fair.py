# SPDX-License-Identifier: Apache-2.0
"""Clients that ask for much, or hold on to what they have: the others do not wait for them."""
import socket
import time

import requests

from kelp import Error, encode, rss_bytes, sanitized, wait_for

MIB = 1 << 20


def test_a_burst_of_large_reads_on_a_fresh_connection_is_answered_as_it_is_taken(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    with leader.raw() as c:
        assert c.call("SET", "huge", b"h" * (4 * MIB)) == "OK"
    for node in (leader, cluster.followers()[0]):
        before = rss_bytes(node.process.pid)
        with node.raw(timeout=60) as c, node.raw() as other:
            c.send_bytes(encode("GET", "huge") * 32)
            for _ in range(200):  # meanwhile nothing is taken
                assert not isinstance(other.call("GET", "kelp:ready"), Error)
            grown = rss_bytes(node.process.pid) - before
            for _ in range(32):
                answer = c.read()
                assert not isinstance(answer, Error), answer
                assert len(answer) == 4 * MIB
        print(f"node {node.id} grew by {grown >> 20} MiB")
        assert sanitized(cluster.program) or grown < 96 * MIB, f"{grown >> 20} MiB"


def test_a_read_that_waits_for_its_own_client_is_not_late(make_cluster):
    cluster = make_cluster(1, request_timeout_ms=300)
    node = cluster.wait_leader()
    with node.raw() as c:
        assert c.call("SET", "huge", b"h" * (4 * MIB)) == "OK"
    with node.raw(timeout=60) as c, node.raw() as other:
        c.send_bytes(encode("GET", "huge") * 8)
        until = time.monotonic() + 1  # three times the deadline
        while time.monotonic() < until:
            assert other.call("PING") == "PONG"
        for _ in range(8):
            answer = c.read()
            assert not isinstance(answer, Error), answer


def bytes_in(node):
    page = requests.get(f"http://127.0.0.1:{node.http_port}/metrics", timeout=8).text
    line = next(n for n in page.splitlines() if n.startswith("kelp_client_bytes_in_total "))
    return int(line.split()[1])


def test_answers_held_behind_a_read_do_not_hold_up_the_read(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    followers = cluster.followers()
    large = b"x" * (700 << 10)
    with leader.raw(timeout=30) as c:
        assert c.call("SET", "small", "s") == "OK"
        for follower in followers:
            follower.pause()
        c.send("GET", "small")  # cannot be confirmed for now
        for _ in range(2):
            c.send("ECHO", large)  # more than a line may have, but nobody could take it yet
        wait_for(lambda: bytes_in(leader) > 2 * len(large), "the leader has read all of it")
        for follower in followers:
            follower.resume()
        assert c.read() == b"s"
        assert c.read() == large
        assert c.read() == large


def test_a_client_that_takes_nothing_is_disconnected_in_the_end(make_cluster):
    cluster = make_cluster(1, client_stall_ms=1000)
    node = cluster.wait_leader()
    with node.raw() as c:
        assert c.call("SET", "huge", b"h" * (4 * MIB)) == "OK"
    with node.raw(timeout=60) as deaf, node.raw() as slow:
        deaf.send_bytes(encode("GET", "huge") * 8)
        slow.send_bytes(encode("GET", "huge") * 8)

        def gone():
            slow.socket.recv(256 << 10)  # slow, but it reads
            return "has taken no answer" in node.log()
        wait_for(gone, "the one that reads nothing is disconnected", every=0.05)
        assert node.log().count("has taken no answer") == 1
        assert slow.socket.recv(4096), "the slow one was disconnected as well"


def test_idle_http_connections_give_way(make_cluster):
    cluster = make_cluster(1, http_connections_max=16)
    node = cluster.wait_leader()
    idle = []
    try:
        for i in range(100):
            s = socket.create_connection(("127.0.0.1", node.http_port), timeout=5)
            if i % 2:
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")  # never ends
            idle.append(s)
        for _ in range(5):
            begin = time.monotonic()
            healthy = requests.get(f"http://127.0.0.1:{node.http_port}/healthz", timeout=8)
            assert healthy.status_code == 200
            assert time.monotonic() - begin < 5  # idle ones may stay for ten seconds
        idle[0].settimeout(10)
        assert idle[0].recv(1) == b"", "the oldest was not closed"
    finally:
        for s in idle:
            s.close()


def test_a_node_that_belongs_to_no_cluster_says_so(make_cluster):
    cluster = make_cluster(1, start=False)
    node = cluster.nodes[1]
    words = node.command()
    at = words.index("--bootstrap")
    node.command = lambda: words[:at] + words[at + 2:]
    node.start()
    wait_for(lambda: "belongs to no cluster; waits to be added" in node.log(), "it says so")
    assert node.log().count("belongs to no cluster") == 1
    assert node.stop() == 0
