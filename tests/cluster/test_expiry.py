# SPDX-License-Identifier: Apache-2.0
"""Keys that go by themselves: as in Redis, on every node, late by little, and never back again."""
import socket
import subprocess
import time

import pytest
import redis

from kelp import free_ports, wait_for


@pytest.fixture
def oracle(tmp_path):
    port = free_ports(1)[0]
    child = subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--dir",
                              str(tmp_path)], stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port, decode_responses=True)

    def answers():
        try:
            return client.ping()
        except (redis.ConnectionError, socket.error):
            return False

    wait_for(answers, "redis-server")
    yield client
    client.close()
    child.terminate()
    child.wait()


def told(client, words):
    try:
        return client.execute_command(*words)
    except redis.ResponseError as error:
        return "error", str(error)


def lines(now):
    later, past, big = now + 1000, now - 1000, 2 ** 63 - 1
    for option in ("", "NX", "XX", "GT", "LT", "nx xx", "GT LT", "NX GT", "XX GT", "BAD"):
        for when in ("150", "200", "50", "x", "-5", str(big), "1.5"):
            for key in ("plain", "timed", "none"):
                for name in (f"EXPIRE {key} {when}", f"PEXPIRE {key} {when}000"):
                    yield "SET plain v", "SET timed v EX 100", f"{name} {option}", f"TTL {key}"
    for when in (later, past, 0, -1):
        yield ("SET a v", f"EXPIREAT a {when}", "EXPIRETIME a", "PEXPIRETIME a", "EXISTS a")
        yield ("SET a v", f"PEXPIREAT a {when * 1000 + 7}", "EXPIRETIME a", "PEXPIRETIME a",
               "DBSIZE")
        yield (f"SET a v EXAT {when}", "EXPIRETIME a", "GET a")
        yield ("SET a v", f"GETEX a PXAT {when * 1000}", "PEXPIRETIME a", "GET a")
    for word in ("EX 10", "PX 10000", "EX 0", "PX -1", "EX x", "EX", "KEEPTTL", "EX 5 PX 5",
                 "PERSIST", f"EX {big}", "EX 5 KEEPTTL", f"EXAT {later} NX", "XX EX 9", "GET EX 9"):
        yield "DEL a", f"SET a v {word}", "TTL a", f"SET a w {word}", "TTL a", "GET a"
        yield "SET a v EX 77", f"GETEX a {word}", "TTL a", f"GETEX none {word}"
    for when in ("10", "0", "-1", "x", str(big)):
        yield f"SETEX a {when} v", "TTL a", f"PSETEX a {when}000 v", "TTL a"
    yield "SET a 1 EX 50", "PERSIST a", "TTL a", "PERSIST a", "PERSIST none", "PTTL none", "PTTL a"
    yield "SET a 1 EX 50", "INCR a", "TTL a", "APPEND a 0", "TTL a", "SET a 2", "TTL a"
    yield "EXPIRE a", "TTL", "SETEX a 1", "GETEX", "EXPIRETIME a b"


def test_every_answer_is_redis_s(make_cluster, oracle):
    cluster = make_cluster(3)
    cluster.wait_leader()
    now = int(time.time())
    count = 0
    with cluster.followers()[0].redis(decode_responses=True) as ours:
        for story in lines(now):
            oracle.flushall()
            ours.flushall()
            for line in story:
                wanted, got = told(oracle, line.split()), told(ours, line.split())
                near = line.startswith(("TTL", "PTTL")) and isinstance(got, int) and got > 0
                assert got == wanted or (near and abs(got - wanted) <= 1), (story, line)
                count += 1
    assert count > 1500
    cluster.wait_equal()


def last_indexes(cluster):
    return {node.number("last_index") for node in cluster.running()}


def test_it_is_gone_in_time_everywhere_and_then_nothing_is_appended(make_cluster):
    cluster = make_cluster(3)
    cluster.wait_leader()
    with cluster.nodes[1].redis() as writer:
        writer.flushall()
        begun = time.monotonic()
        assert writer.mset({f"k{i}": "v" for i in range(100)})
        for i in range(100):
            assert writer.pexpire(f"k{i}", 1000)
        set_by = time.monotonic()
        told = writer.info("keyspace")["db0"]
        in_time = time.monotonic() < begun + 1
        assert not in_time or (told["expires"] == 100 and 0 < told["avg_ttl"] <= 1000), told
    before = max(last_indexes(cluster))
    for node in cluster.nodes.values():
        with node.redis() as reader:
            assert reader.dbsize() == 100 or time.monotonic() > begun + 1
    while time.monotonic() < set_by + 1.2:
        time.sleep(0.01)
    for node in cluster.nodes.values():
        with node.redis() as reader:
            assert reader.dbsize() == 0
    cluster.wait_equal()
    after = last_indexes(cluster)
    assert len(after) == 1 and 1 <= max(after) - before <= 20  # ten a second, not one a key
    time.sleep(3)
    assert last_indexes(cluster) == after


def test_a_leader_that_dies_takes_no_key_back(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    with leader.redis() as writer:
        writer.flushall()
        writer.set("short", "v", px=300)
        writer.set("long", "v", px=4000)
        wait_for(lambda: writer.get("short") is None, "the first key to go")
    leader.kill()
    other = cluster.wait_leader(other_than=leader)
    with other.redis() as reader:
        assert reader.get("short") is None
        wait_for(lambda: reader.get("long") is None, "the second key to go under the next leader")
    leader.start()
    cluster.wait_equal()
    with leader.redis() as reader:
        assert reader.exists("short", "long") == 0
