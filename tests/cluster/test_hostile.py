# SPDX-License-Identifier: Apache-2.0
"""Bytes nobody should send, and more of them than anybody should: the node stays well."""
import os
import random
import socket
import struct
import threading

import pytest

from kelp import Error, Gone, Raw, encode, rss_bytes, sanitized, wait_for

MIB = 1 << 20


def still_well(cluster, term):
    for node in cluster.nodes.values():
        assert node.running(), node.log_tail()
        with node.raw() as c:
            assert c.call("PING") == "PONG"
            assert c.call("SET", f"well:{node.id}", "1") == "OK"
    assert cluster.wait_leader().number("term") == term, "an election"


def throw(port, data, linger=0.3):
    """Sends bytes and returns what came back until the end or a short silence."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
        s.settimeout(linger)
        try:
            s.sendall(data)
            while True:
                piece = s.recv(65536)
                if not piece:
                    break
                got += piece
        except OSError:
            pass
    return got


@pytest.mark.parametrize("data, answer", [
    (b"*1\r\n+PING\r\n", b"-ERR Protocol error: expected '$', got '+'"),
    (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length"),
    (b"*1048577\r\n", b"-ERR Protocol error: invalid multibulk length"),
    (b"*99999999999999999999\r\n", b"-ERR Protocol error: invalid multibulk length"),
    (b"*1\r\n$-1\r\n", b"-ERR Protocol error: invalid bulk length"),
    (b"*1\r\n$99999999999\r\n", b"-ERR Protocol error: invalid bulk length"),
    (b"*2\r\n$3\r\nGET\r\n$9223372036854775807\r\n", b"-ERR Protocol error: invalid bulk length"),
    (b'GET "unbalanced\r\n', b"-ERR Protocol error: unbalanced quotes in request"),
    (b"A" * (70 << 10), b"-ERR Protocol error: too big inline request"),
])
def test_malformed_requests_get_redis_words_and_are_closed(make_cluster, data, answer):
    node = make_cluster(1).nodes[1]
    assert throw(node.client_port, encode("PING") + data).startswith(b"+PONG\r\n" + answer)
    with node.raw() as c:
        assert c.call("PING") == "PONG"


@pytest.mark.parametrize("head", [b"POST / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: here\r\n"])
def test_a_browser_cannot_be_made_to_send_commands(make_cluster, head):
    node = make_cluster(1).nodes[1]
    throw(node.client_port, head + b"\r\nSET from-a-page 1\r\n")
    with node.raw() as c:
        assert c.call("EXISTS", "from-a-page") == 0


def test_unfinished_requests_do_not_take_all_memory(make_cluster):
    cluster = make_cluster(1)
    node = cluster.nodes[1]
    value = 7 * MIB
    part = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % value + b"x" * (value - 1)
    open_ones = []
    before = rss_bytes(node.process.pid)
    try:
        for _ in range(80):
            s = socket.create_connection(("127.0.0.1", node.client_port), timeout=5)
            open_ones.append(s)
            try:
                s.sendall(part)
            except OSError:
                pass  # past the limit it is closed while it sends
        grown = rss_bytes(node.process.pid) - before
        assert sanitized(cluster.program) or grown < 300 * MIB, f"{grown >> 20} MiB"
        with node.raw() as c:
            assert c.call("SET", "small", "1") == "OK"
    finally:
        for s in open_ones:
            s.close()
    with node.raw() as c:  # and the room is given back
        assert c.call("SET", "large", "x" * value) == "OK"


def test_random_bytes_on_every_port_harm_nobody(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    term = leader.number("term")
    chance = random.Random(7)
    for node in cluster.nodes.values():
        for port in (node.client_port, node.peer_port, node.http_port):
            for size in (1, 3, 16, 64, 1000, 70000):
                throw(port, chance.randbytes(size), linger=0.05)
            throw(port, b"", linger=0.05)
            throw(port, b"\0" * 4096, linger=0.05)
            throw(port, b"\xff" * 4096, linger=0.05)
            throw(port, b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100\r\n", linger=0.05)
            throw(port, b"GET / HTTP/1.1\r\nHost: x\r\n", linger=0.05)
    still_well(cluster, term)
    said = leader.log()
    assert len(said.splitlines()) < 200, "one rate-limited line, not one a connection"


def test_frames_that_announce_gigabytes_cost_no_memory(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    term = leader.number("term")
    before = rss_bytes(leader.process.pid)
    sockets = []
    for length in (0, 1, 0x7fffffff, 0xffffffff):
        for layout in ("<II", "<IQ", "<QI"):
            for magic in (0, 0x706c656b, 0x6b656c70):
                head = struct.pack(layout, magic, length) if layout != "<QI" else \
                    struct.pack(layout, length << 32 | magic, length)
                try:
                    s = socket.create_connection(("127.0.0.1", leader.peer_port), timeout=5)
                    s.sendall(head + os.urandom(64))
                    sockets.append(s)  # and silence: the node must not wait for ever, nor allocate
                except OSError:
                    pass
    still_well(cluster, term)
    assert rss_bytes(leader.process.pid) - before < 32 * MIB
    for s in sockets:
        s.close()


def test_a_replayed_handshake_of_a_real_peer_does_not_disturb(make_cluster):
    """What one node says to another, recorded and sent again by a stranger."""
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    term = leader.number("term")
    victim = cluster.followers()[0]
    victim.kill()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", victim.peer_port))
    listener.listen(8)
    listener.settimeout(20)
    hellos = []
    for _ in range(3):
        s, _ = listener.accept()
        s.settimeout(2)
        try:
            hellos.append(s.recv(65536))
        except OSError:
            pass
        s.close()
    listener.close()
    hellos = [h for h in hellos if h]
    assert hellos, "nobody dialled the node that is down"
    victim.start()
    wait_for(lambda: victim.status(), "the victim is back")
    for _ in range(10):
        for hello in hellos:
            for node in cluster.nodes.values():
                throw(node.peer_port, hello, linger=0.02)
                throw(node.peer_port, hello + os.urandom(200), linger=0.02)
                throw(node.peer_port, hello[:-3] + b"xyz", linger=0.02)
    still_well(cluster, term)


def test_10000_pipelined_commands_get_10000_answers_in_order(make_cluster):
    cluster = make_cluster(3)
    for node in (cluster.wait_leader(), cluster.followers()[0]):
        with node.raw(timeout=60) as c:
            c.call("DEL", "n")
            requests = []
            for i in range(2500):
                requests += [encode("INCR", "n"), encode("GET", "n"), encode("ECHO", i),
                             encode("APPEND")]
            sender = threading.Thread(target=c.send_bytes, args=(b"".join(requests),), daemon=True)
            sender.start()
            for i in range(2500):
                answers = [c.read() for _ in range(4)]
                assert answers[:3] == [i + 1, str(i + 1).encode(), str(i).encode()], answers
                assert answers[3] == "ERR wrong number of arguments for 'append' command"
            sender.join(timeout=10)


def test_floods_of_clients_that_do_not_read_are_bounded(make_cluster):
    cluster = make_cluster(3, client_output_bytes=1 << 20)
    node = cluster.wait_leader()
    term = node.number("term")
    with node.raw() as c:
        assert c.call("SET", "big", b"b" * (256 << 10)) == "OK"
    before = rss_bytes(node.process.pid)
    flood = encode("GET", "big") * 500  # answers of 125 MiB, asked for by each
    sockets = []
    for _ in range(20):
        s = socket.create_connection(("127.0.0.1", node.client_port), timeout=5)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(0.5)
        try:
            s.sendall(flood)
        except OSError:
            pass
        sockets.append(s)
    for _ in range(20):
        still_well(cluster, term)
    grown = rss_bytes(node.process.pid) - before
    print(f"leader's memory grew by {grown >> 20} MiB for 20 clients that do not read")
    assert sanitized(cluster.program) or grown < 20 * 8 * MIB, f"{grown >> 20} MiB"
    for s in sockets:
        s.close()
    still_well(cluster, term)


def test_pipelined_floods_of_writes_are_all_answered(make_cluster):
    cluster = make_cluster(3)
    counts = {}

    def flood(number, node):
        with Raw(node.client_port, timeout=60) as c:
            data = b"".join(encode("SET", f"f:{number}:{i}", "x" * 100) for i in range(5000))
            sender = threading.Thread(target=c.send_bytes, args=(data,), daemon=True)
            sender.start()
            answers = [c.read() for _ in range(5000)]
            counts[number] = (answers.count("OK"), [a for a in answers if isinstance(a, Error)])
            sender.join(timeout=10)

    nodes = list(cluster.nodes.values())
    threads = [threading.Thread(target=flood, args=(i, nodes[i % 3]), daemon=True)
               for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=90)
        assert not thread.is_alive(), "answers are missing"
    assert len(counts) == 6
    for ok, errors in counts.values():
        assert ok + len(errors) == 5000
        assert all(e.code in ("TRYAGAIN", "UNCERTAIN", "CLUSTERDOWN") for e in errors), errors[:3]
        assert ok > 0
    cluster.wait_equal()


def test_http_is_bounded(make_cluster):
    cluster = make_cluster(1)
    node = cluster.nodes[1]
    before = rss_bytes(node.process.pid)
    huge = throw(node.http_port, b"PUT /v1/kv/x HTTP/1.1\r\nHost: x\r\n"
                                 b"Content-Length: 99999999999\r\n\r\n" + b"x" * 70000)
    assert huge[:12] in (b"HTTP/1.1 413", b"HTTP/1.1 400", b""), huge[:100]
    headers = throw(node.http_port, b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * (1 << 20) + b"\r\n\r\n")
    assert headers[:10] in (b"HTTP/1.1 4", b""), headers[:100]
    slow = []
    for _ in range(50):
        s = socket.create_connection(("127.0.0.1", node.http_port), timeout=5)
        s.sendall(b"GET /v1/status HTTP/1.1\r\nHost:")
        slow.append(s)
    assert throw(node.http_port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                 linger=5).startswith(b"HTTP/1.1 200")
    assert rss_bytes(node.process.pid) - before < 32 * MIB
    for s in slow:
        s.close()


def test_a_client_that_leaves_in_the_middle_changes_nothing(make_cluster):
    cluster = make_cluster(3)
    node = cluster.followers()[0]
    for i in range(200):
        s = socket.create_connection(("127.0.0.1", node.client_port), timeout=5)
        s.sendall(encode("SET", "left", i) * 20 + b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$10\r\nabc")
        s.close()
    with node.raw() as c:
        assert c.call("GET", "half") is None
        assert c.call("SET", "left", "done") == "OK"
    try:
        cluster.wait_equal()
    except Gone as gone:
        raise AssertionError("a node went down") from gone


def test_clients_cannot_take_the_descriptor_that_the_log_needs_next(make_cluster):
    cluster = make_cluster(1, start=False, segment_bytes=1 << 20, snapshot_log_bytes=2 << 20,
                           snapshot_log_ratio=0, trailing_entries=10)
    node = cluster.nodes[1]
    plain = node.command
    node.command = lambda: ["sh", "-c", 'ulimit -n 600 && exec "$@"', "sh", *plain()]
    cluster.start()
    cluster.wait_leader()
    assert "600 files: 75 clients at most, not 10000" in node.log()
    crowd = []
    with node.raw(timeout=30) as c:
        for _ in range(800):  # more than there are descriptors, beside the clients and without them
            crowd.append(socket.create_connection(("127.0.0.1", node.client_port), timeout=5))
        assert "maxclients:75" in c.call("INFO", "clients").decode()
        for i in range(400):  # many segments, some snapshots
            assert c.call("SET", f"key:{i % 50}", b"v" * 60000) == "OK", node.log_tail()
    told = 0
    for s in crowd:
        s.settimeout(0.001 if told == 0 else 5)  # the first ones are served
        try:
            said = s.recv(100)  # b"": while too many came at once, closed without a word
            told += said == b"" or said.startswith(b"-ERR max number of clients")
        except TimeoutError:
            assert told == 0
        s.close()
    assert told == 800 - 74, told
    assert "faulted" not in node.log() and "Too many open files" not in node.log()
    with node.raw() as c:
        assert c.call("GET", "key:1") == b"v" * 60000
