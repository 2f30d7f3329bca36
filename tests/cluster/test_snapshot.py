# SPDX-License-Identifier: Apache-2.0
"""Snapshots of real nodes: taken under load, started from, asked for by hand, damaged."""
import glob
import os
import re
import subprocess
import time
import urllib.request

import pytest
import requests

from kelp import rss_bytes, sanitized, wait_for
from load import Ledger

EAGER = {"snapshot_log_bytes": 1 << 20, "snapshot_log_ratio": 0, "trailing_entries": 100}


def snapshots(node):
    return sorted(glob.glob(os.path.join(node.data, "snap", "*.snap")))


def fill(node, count, size, first=0):
    value = b"v" * size
    with node.redis() as r:
        for begin in range(first, first + count, 500):
            with r.pipeline(transaction=False) as p:
                for key in range(begin, min(begin + 500, first + count)):
                    p.set(f"key-{key}", value)
                p.execute()


def test_killed_nodes_start_from_their_snapshots_with_one_state(make_cluster):
    cluster = make_cluster(3, **EAGER)
    with Ledger(cluster) as ledger:
        for turn in range(6):
            node = cluster.nodes[turn % 3 + 1]
            fill(cluster.wait_leader(), 3000, 300, turn * 1000)
            wait_for(lambda: node.number("snapshot_index") > 0, "a snapshot")
            node.kill()
            node.start()
            count = ledger.count
            wait_for(lambda: ledger.count > count + 20, "writes go on")
    cluster.wait_equal(60)
    for node in cluster.nodes.values():
        ledger.check(node)
        assert not glob.glob(os.path.join(node.data, "snap", "new.tmp"))
        # one that was just named has not yet taken the place of the oldest
        wait_for(lambda n=node: 1 <= len(snapshots(n)) <= 2, "two are kept")
    fill(cluster.wait_leader(), 3000, 300)
    for node in cluster.nodes.values():
        wait_for(lambda n=node: n.number("first_index") > 1, "its log is compacted")


def test_an_operator_takes_lists_and_verifies(make_cluster):
    cluster = make_cluster(1)
    node = cluster.wait_leader()
    fill(node, 1000, 100)
    assert cluster.kelp_json("snapshot", "list")["snapshots"] == []
    taken = cluster.kelp_json("snapshot", "now")
    assert taken["index"] >= 1000 and not taken["unchanged"]
    again = cluster.kelp_json("snapshot", "now")
    assert again["index"] == taken["index"] and again["unchanged"]
    [row] = cluster.kelp_json("snapshot", "list")["snapshots"]
    assert (row["index"], row["state"]) == (taken["index"], "whole")
    [path] = snapshots(node)
    assert os.path.getsize(path) == row["bytes"]
    info = cluster.kelp_json("snapshot", "verify", path)
    assert info["index"] == taken["index"] and info["verified"] and info["objects"] > 0
    assert info["state_hash"] == cluster.wait_equal()[1]
    assert node.number("snapshot_index") == taken["index"]


def damage(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1]))


def test_a_damaged_snapshot_falls_back_or_the_start_says_what_to_do(make_cluster):
    cluster = make_cluster(1, snapshot_log_bytes=0)
    node = cluster.wait_leader()
    fill(node, 1000, 100)
    first = cluster.kelp_json("snapshot", "now")["index"]
    fill(node, 1000, 100, 1000)
    cluster.kelp_json("snapshot", "now")
    before = cluster.wait_equal()
    old, new = snapshots(node)
    node.kill()
    damage(new, 5000)
    node.start()
    wait_for(lambda: node.number("snapshot_index") == first, "the one before serves")
    wait_for(lambda: cluster.wait_equal()[1] == before[1], "the log behind it is replayed")
    assert "damaged" in node.log_tail()
    rows = cluster.kelp_json("snapshot", "list")["snapshots"]
    assert [row["state"] for row in rows] == ["damaged", "whole"]
    assert "the checksum of a snapshot's chunk" in node.dump()[1]


def test_the_one_before_serves_although_the_log_was_compacted(make_cluster):
    cluster = make_cluster(1, snapshot_log_bytes=0, trailing_entries=100, snapshots_kept=2,
                           segment_bytes=1 << 20)
    node = cluster.wait_leader()
    taken = []
    for turn in range(3):  # several segments between two of them
        fill(node, 20000, 300, turn * 1000)
        taken.append(cluster.kelp_json("snapshot", "now")["index"])
    fill(node, 500, 300)
    wait_for(lambda: not os.path.exists(os.path.join(node.data, "log", f"{1:020}.seg")),
             "segments are used again")
    before = cluster.wait_equal()
    old, new = snapshots(node)
    assert str(taken[1]) in old and str(taken[2]) in new
    node.kill()
    damage(new, 5000)
    node.start()
    wait_for(lambda: node.number("snapshot_index") == taken[1], "the one before serves")
    wait_for(lambda: cluster.wait_equal()[1] == before[1], "the log behind it is replayed")
    cluster.kelp_json("snapshot", "now")  # the damaged one goes
    node.kill()
    node.start()
    wait_for(lambda: (node.number("snapshot_index") or 0) > taken[2], "the newest serves")
    rows = cluster.kelp_json("snapshot", "list")["snapshots"]
    assert [(row["index"] == taken[1], row["state"]) for row in rows] == [
        (False, "whole"), (True, "unread")]


def test_without_a_good_snapshot_the_start_says_what_to_do(make_cluster):
    cluster = make_cluster(1, snapshots_kept=1, **EAGER)
    node = cluster.wait_leader()
    fill(node, 30000, 300)
    wait_for(lambda: re.search(r"entries ([1-9]\d{2,})\.\.", node.dump()[1]) or
             node.number("first_index") > 20000, "segments are used again")
    node.kill()
    [path] = snapshots(node)
    damage(path, 5000)
    node.start()
    assert node.wait_exit() == 3
    assert "add it again, empty" in node.log_tail()


def metric(node, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/metrics") as page:
        text = page.read().decode()
    return float(re.search(rf"^{name} (\S+)$", text, re.M).group(1))


def test_memory_stays_below_one_and_a_half_times_under_load(make_cluster, program, long_run):
    if sanitized(program):
        pytest.skip("memory means nothing under a sanitizer")
    keys = 1000000 if long_run else 200000
    cluster = make_cluster(1, snapshot_log_bytes=0, cache_bytes=32 << 20)
    node = cluster.wait_leader()
    fill(node, keys, 200)
    fill(node, keys // 10, 200)  # the same keys again: the log's own room is there already
    before = rss_bytes(node.process.pid)
    with node.raw() as c:
        assert str(c.call("RAFT", "SNAPSHOT", "NOW")).endswith("started")
    peak = before
    for begin in range(0, keys, keys // 20):
        fill(node, keys // 20, 200, begin)
        peak = max(peak, rss_bytes(node.process.pid))
        if metric(node, "kelp_snapshots_total") > 0:
            break
    wait_for(lambda: metric(node, "kelp_snapshots_total") == 1, "the snapshot", 120)
    mean = (metric(node, "kelp_snapshot_object_seconds_sum") /
            metric(node, "kelp_snapshot_object_seconds_count"))
    print(f"{keys} keys: {before >> 20} MiB before, {peak >> 20} at the most, "
          f"{mean * 1e6:.0f} us of the loop an object, "
          f"{metric(node, 'kelp_snapshot_last_seconds'):.2f} s")
    assert peak < 1.5 * before
    assert mean < 0.001


def saved(cluster, *words, node=None, code=0):
    run = cluster.kelp("snapshot", "save", *words,
                       at=f"127.0.0.1:{node.client_port}" if node else None)
    assert run.returncode == code, run.stdout + run.stderr
    return run.stdout + run.stderr


def same(a, b):
    with open(a, "rb") as x, open(b, "rb") as y:
        return x.read() == y.read()


def test_a_snapshot_is_saved_byte_for_byte_while_writes_go_on(make_cluster, tmp_path):
    cluster = make_cluster(3, snapshot_log_bytes=0)
    leader = cluster.wait_leader()
    fill(leader, 3000, 1000)
    cluster.wait_equal(60)
    follower = next(n for n in cluster.nodes.values() if n is not leader)
    with Ledger(cluster) as ledger:
        for turn, node in enumerate((leader, follower, leader)):
            path = str(tmp_path / f"{turn}.snap")
            count = ledger.count
            saved(cluster, path, node=node)
            info = cluster.kelp_json("snapshot", "verify", path)
            assert info["index"] >= 3000 and info["verified"]
            assert same(path, snapshots(node)[-1])
            assert not os.path.exists(path + ".tmp")
            wait_for(lambda c=count: ledger.count > c, "writes go on")
    # the newest, without another one; a file is replaced only by force; - is whole as well
    path = str(tmp_path / "0.snap")
    assert "it exists; --force" in saved(cluster, path, "--newest", node=follower, code=1)
    before = snapshots(follower)
    saved(cluster, path, "--newest", "--force", node=follower)
    assert snapshots(follower) == before and same(path, before[-1])
    piped = str(tmp_path / "piped.snap")
    with open(piped, "wb") as out:
        subprocess.run([cluster.program, "snapshot", "save", "-", "--newest", "--at",
                        f"127.0.0.1:{follower.client_port}"], stdout=out, check=True)
    assert same(path, piped)
    # a small node's limit: three megabytes at two megabytes a second
    begun = time.monotonic()
    saved(cluster, path, "--newest", "--force", "--limit", str(2 << 20), node=follower)
    assert time.monotonic() - begun > 1
    assert "is none of" in cluster.kelp("snapshot", "sav", path).stderr
    assert cluster.kelp("snapshot", "now", "--force").returncode == 2


def test_a_save_survives_a_lost_connection_and_not_a_lost_node(make_cluster, tmp_path):
    cluster = make_cluster(1, snapshot_log_bytes=0)
    node = cluster.wait_leader()
    fill(node, 3000, 1000)
    path = str(tmp_path / "x.snap")
    env = dict(os.environ, KELP_AT=f"127.0.0.1:{node.client_port}")
    words = [cluster.program, "snapshot", "save", path, "--limit", str(1 << 20)]

    def begun():
        run = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
        wait_for(lambda: os.path.exists(path + ".tmp") and os.path.getsize(path + ".tmp") > 300000,
                 "some of it is there")
        return run

    run = begun()
    node.kill()
    node.start()
    out, error = run.communicate(timeout=60)
    assert run.returncode == 0, out + error
    assert same(path, snapshots(node)[-1])
    os.remove(path)
    run = begun()
    node.kill()
    out, error = run.communicate(timeout=60)
    assert run.returncode == 1 and "at byte" in error
    assert not os.path.exists(path) and not os.path.exists(path + ".tmp")


def test_a_snapshot_that_is_damaged_is_not_saved_and_another_is_taken(make_cluster, tmp_path):
    cluster = make_cluster(1, snapshot_log_bytes=0)
    node = cluster.wait_leader()
    fill(node, 3000, 1000)
    taken = cluster.kelp_json("snapshot", "now")["index"]
    damage(snapshots(node)[-1], 1000000)
    path = str(tmp_path / "x.snap")
    fill(node, 10, 10)
    saved(cluster, path, "--newest")
    assert cluster.kelp_json("snapshot", "verify", path)["index"] > taken
    with node.raw() as c:
        for words, error in (((taken, 1, 0), "SNAPSHOT_GONE"), ((1, 2), "BAD_REQUEST"),
                             (("x", 1, 0), "BAD_REQUEST"), ((-1, 1, 0), "BAD_REQUEST")):
            assert error in str(c.call("RAFT", "SNAPSHOT", "READ", *map(str, words)))


def over_http(node, **more):
    return requests.get(f"http://127.0.0.1:{node.http_port}/v1/snapshot", timeout=30, **more)


def test_a_snapshot_comes_over_http_byte_for_byte(make_cluster, tmp_path):
    cluster = make_cluster(3, snapshot_log_bytes=0, trailing_entries=100)
    leader = cluster.wait_leader()
    follower = next(n for n in cluster.nodes.values() if n is not leader)
    none = over_http(leader)
    assert none.status_code == 404 and none.json()["advice"] == "POST /v1/raft/snapshot takes one"
    fill(leader, 12000, 1000)
    cluster.wait_equal(60)
    with Ledger(cluster) as ledger:
        for node in (leader, follower):
            now = cluster.kelp("snapshot", "now", at=f"127.0.0.1:{node.client_port}")
            assert now.returncode == 0, now.stderr
            path, count = str(tmp_path / f"{node.id}.snap"), ledger.count
            answer = over_http(node)
            assert answer.status_code == 200
            assert answer.headers["Content-Type"] == "application/octet-stream"
            with open(path, "wb") as out:
                out.write(answer.content)
            assert same(path, snapshots(node)[-1])
            assert os.path.basename(snapshots(node)[-1]) in answer.headers["Content-Disposition"]
            info = cluster.kelp_json("snapshot", "verify", path)
            assert info["verified"] and answer.headers["X-Kelp-Index"] == str(info["index"])
            wait_for(lambda c=count: ledger.count > c, "writes go on")
    head = requests.head(f"http://127.0.0.1:{leader.http_port}/v1/snapshot", timeout=10)
    assert head.status_code == 200 and int(head.headers["Content-Length"]) > 12000000
    post = requests.post(f"http://127.0.0.1:{leader.http_port}/v1/snapshot", timeout=10)
    assert post.status_code == 405

    # who reads slowly costs a piece, whoever does not read on costs nobody anything, and others
    # read beside them
    before = rss_bytes(leader.process.pid)
    idle = [over_http(leader, stream=True) for _ in range(8)]
    for answer in idle:
        assert len(answer.raw.read(1000)) == 1000
    assert over_http(leader).content == open(snapshots(leader)[-1], "rb").read()
    if not sanitized(cluster.program):
        assert rss_bytes(leader.process.pid) - before < 16 << 20
    with leader.raw() as c:
        assert c.call("SET", "x", "y") == "OK"
    rest = idle[0].raw.read()
    assert 1000 + len(rest) == int(idle[0].headers["Content-Length"])
    for answer in idle:
        answer.close()


def ends_early(answer):
    """Libraries differ in whether they say so; the length does."""
    try:
        return len(answer.content) < int(answer.headers["Content-Length"])
    except requests.exceptions.RequestException:
        return True


def test_a_copy_over_http_that_ends_early_is_too_short(make_cluster):
    cluster = make_cluster(1, snapshot_log_bytes=0, snapshot_send_bytes=1 << 20)
    node = cluster.wait_leader()
    fill(node, 5000, 1000)
    assert cluster.kelp("snapshot", "now").returncode == 0
    answer = over_http(node, stream=True)
    size = int(answer.headers["Content-Length"])
    damage(snapshots(node)[-1], size - 1000)  # far behind what is read by now
    assert ends_early(answer)
    wait_for(lambda: len(over_http(node).content) >= size - 1000, "another one was taken")
    answer = over_http(node, stream=True)
    node.stop()  # it answers what is open before it ends
    assert ends_early(answer)
