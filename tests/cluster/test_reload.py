# SPDX-License-Identifier: Apache-2.0
"""Settings change while nodes run: all of them or none, by SIGHUP, `kelp reload` and CONFIG SET."""
import json
import os
import signal
import urllib.error
import urllib.request

from kelp import Error, wait_for
from load import Ledger


def with_files(cluster):
    """Every node of a cluster is given a --config file, empty at first; returns their paths."""
    paths = {}
    for i, node in cluster.nodes.items():
        paths[i] = os.path.join(cluster.directory, f"node-{i}.yaml")
        write(paths[i], "")
        plain = type(node).command
        node.command = lambda n=node, p=paths[i], c=plain: [*c(n), "--config", p]
    return paths


def write(path, text):
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(path + ".new", path)


def restarted(make_cluster, count):
    cluster = make_cluster(count)
    paths = with_files(cluster)
    for node in cluster.nodes.values():
        node.stop()
        node.start()
    cluster.wait_leader()
    return cluster, paths


def in_force(node):
    with node.raw() as c:
        return {row[0].decode(): [cell.decode() for cell in row[1:]]
                for row in c.call("RAFT", "CONFIG")}


def hang_up(node, words):
    before = node.log().count(words)
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: node.log().count(words) > before, f"the log says {words}")


def kelp_at(cluster, node, *words):
    return cluster.kelp(*words, at=f"127.0.0.1:{node.client_port}")


def test_a_bad_file_changes_nothing_and_is_named_with_the_line(make_cluster):
    cluster, paths = restarted(make_cluster, 1)
    node = cluster.nodes[1]
    write(paths[1], "client-stall-ms: 20000\n")
    hang_up(node, "client-stall-ms: 30000 -> 20000 (SIGHUP)")
    assert in_force(node)["client-stall-ms"] == ["20000", f"{paths[1]}:1", "live"]
    before = in_force(node)
    write(paths[1], "client-stall-ms: 25000\n# here\nrequest-timeout-ms: 5\n")
    hang_up(node, f"refused, nothing is changed: {paths[1]}:3: request-timeout-ms 5: "
                  "must be 10..600000 ms")
    assert in_force(node) == before
    write(paths[1], "client-stall-ms: 25000\nrequests-max: 10\n")  # each alone is fine
    run = kelp_at(cluster, node, "reload")
    assert run.returncode == 2 and run.stdout == "", run
    assert "client-requests-max 1024" in run.stderr and "requests-max, which is 10" in run.stderr
    os.unlink(paths[1])
    hang_up(node, "No such file")
    assert in_force(node) == before


def test_a_setting_that_needs_a_restart_refuses_the_whole_reload(make_cluster):
    cluster, paths = restarted(make_cluster, 1)
    node = cluster.nodes[1]
    before = in_force(node)
    write(paths[1], "client-stall-ms: 25000\nlease-ms: 100\ndrift-ppm: 2000\n")
    run = kelp_at(cluster, node, "reload")
    assert run.returncode == 2, run
    assert 'lease-ms ("0" -> "100")' in run.stderr and "drift-ppm" in run.stderr, run.stderr
    assert "client-stall-ms" not in run.stderr and in_force(node) == before
    request = urllib.request.Request(f"http://127.0.0.1:{node.http_port}/v1/raft/reload",
                                     data=b"", method="POST")
    try:
        urllib.request.urlopen(request, timeout=10)
        raise AssertionError("a reload was not refused")
    except urllib.error.HTTPError as error:
        assert error.code == 409 and b"lease-ms" in error.read()
    assert in_force(node) == before


def test_reload_answers_what_changed_and_ends_config_set(make_cluster):
    cluster, paths = restarted(make_cluster, 1)
    node = cluster.nodes[1]
    with node.raw() as c:
        assert c.call("CONFIG", "SET", "on-follower", "moved") == "OK"
    assert in_force(node)["on-follower"] == ["moved", "CONFIG SET", "live"]
    write(paths[1], "client-stall-ms: 25000\nheartbeat-ms: 77\n")  # --set heartbeat-ms is above
    run = kelp_at(cluster, node, "reload", "--json")
    assert run.returncode == 0, run
    assert sorted(json.loads(run.stdout), key=lambda row: row["key"]) == [
        {"key": "client-stall-ms", "old": "30000", "new": "25000"},
        {"key": "on-follower", "old": "moved", "new": "forward"}]
    listed = kelp_at(cluster, node, "config", "--json").stdout
    rows = {row["key"]: row for row in json.loads(listed)}
    assert rows["on-follower"]["source"] == "default"
    assert rows["heartbeat-ms"] == {"key": "heartbeat-ms", "value": "50",
                                    "source": "command line", "when": "restart"}
    with urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/v1/raft/config",
                                timeout=10) as page:
        pages = {row["key"]: row for row in json.load(page)["settings"]}
    assert pages["client-stall-ms"] == {"key": "client-stall-ms", "value": "25000",
                                        "source": f"{paths[1]}:1", "live": True}
    run = kelp_at(cluster, node, "reload")
    assert (run.returncode, run.stdout) == (0, "nothing is changed\n")


def test_config_rewrite_keeps_what_clients_changed(make_cluster):
    cluster = make_cluster(1, start=False)
    path = with_files(cluster)[1]
    write(path, "# ours\nrequest-timeout-ms: 5000 # five seconds\n")
    node = cluster.nodes[1]
    node.start()
    cluster.wait_leader()
    with node.redis() as r:
        assert r.config_rewrite()  # nothing was changed: nothing is written
        r.config_set("request-timeout-ms", "7000")
        r.config_set("snapshot-send-bytes", "4096")
        assert r.config_rewrite()
    with open(path, encoding="utf-8") as f:
        assert f.read() == ("# ours\nrequest-timeout-ms: 7000 # five seconds\n"
                            "snapshot-send-bytes: 4096\n")
    assert in_force(node)["snapshot-send-bytes"][1].endswith("node-1.yaml:3")
    assert kelp_at(cluster, node, "reload").returncode == 0
    node.kill()
    node.start()
    cluster.wait_leader()
    assert in_force(node)["request-timeout-ms"][0] == "7000"
    write(path, "{heartbeat-ms: 100}\n")
    with node.raw() as c:
        assert c.call("CONFIG", "SET", "request-timeout-ms", "8000") == "OK"
        assert "by hand" in str(c.call("CONFIG", "REWRITE"))
    with open(path, encoding="utf-8") as f:
        assert f.read() == "{heartbeat-ms: 100}\n"


def test_without_a_file_there_is_nothing_to_rewrite(make_cluster):
    cluster = make_cluster(1)
    with cluster.wait_leader().raw() as c:
        assert str(c.call("CONFIG", "REWRITE")) == "ERR The server is running without a config file"


def test_config_set_of_two_keys_changes_both_or_neither(make_cluster):
    node = make_cluster(1).nodes[1]
    before = in_force(node)
    with node.raw() as c:
        for bad in (("request-timeout-ms", "5"), ("election-ms", "900"), ("no-such-key", "1"),
                    ("requests-max", "10"), ("client-stall-ms", "4000")):
            answer = c.call("CONFIG", "SET", "client-stall-ms", "4000", *bad)
            assert isinstance(answer, Error) and bad[0] in str(answer), (bad, answer)
            assert in_force(node) == before
        words = ("client-stall-ms", "4000", "request-timeout-ms", "900")
        assert c.call("CONFIG", "SET", *words) == "OK"
    changed = {key: row for key, row in in_force(node).items() if row != before[key]}
    assert changed == {"client-stall-ms": ["4000", "CONFIG SET", "live"],
                       "request-timeout-ms": ["900", "CONFIG SET", "live"]}


def test_no_more_requests_than_the_tables_of_the_start_hold(make_cluster):
    cluster, paths = restarted(make_cluster, 1)
    node = cluster.nodes[1]
    words = "above the 4096 it was started with"
    for _ in range(2):  # also after it was lowered
        before = in_force(node)
        with node.raw() as c:
            answer = c.call("CONFIG", "SET", "client-stall-ms", "4000", "requests-max", "4097")
        assert isinstance(answer, Error) and words in str(answer), answer
        write(paths[1], "client-stall-ms: 25000\nrequests-max: 16384\n")
        run = kelp_at(cluster, node, "reload")
        assert run.returncode == 2 and "requests-max" in run.stderr and words in run.stderr, run
        assert in_force(node) == before
        write(paths[1], "requests-max: 2000\n")
        assert kelp_at(cluster, node, "reload").returncode == 0
    with node.raw() as c:
        assert c.call("CONFIG", "SET", "requests-max", "4096") == "OK"
    assert in_force(node)["requests-max"][0] == "4096"
    write(paths[1], "requests-max: 16384\n")
    node.stop()
    node.start()
    cluster.wait_leader()
    assert in_force(node)["requests-max"][0] == "16384"


def test_a_rule_about_snapshots_counts_from_the_reload_on(make_cluster):
    cluster, paths = restarted(make_cluster, 1)
    node = cluster.nodes[1]
    with node.raw() as c:
        for i in range(300):
            assert c.call("SET", f"key{i}", "v") == "OK"
    assert node.number("snapshot_index") == 0
    write(paths[1], "snapshot-entries: 50\n")
    hang_up(node, "snapshot-entries: 0 -> 50 (SIGHUP)")
    wait_for(lambda: node.number("snapshot_index") >= 300, "a snapshot of what was written before")


def test_reloads_under_load_lose_nothing_and_end_nobody(make_cluster):
    cluster, paths = restarted(make_cluster, 3)
    with Ledger(cluster) as ledger:
        for turn in range(30):
            node = cluster.nodes[turn % 3 + 1]
            write(paths[node.id], f"client-stall-ms: {20000 + turn}\n"
                                  f"request-bytes: {(turn % 2 + 1) * 1048576}\n"
                                  f"requests-max: {1024 + turn % 3}\n")
            count = ledger.count
            hang_up(node, f"-> {20000 + turn} (SIGHUP)")
            wait_for(lambda: ledger.count > count + 20, "writes go on")
    assert ledger.errors == [] and not ledger.uncertain
    cluster.wait_equal()
    for node in cluster.nodes.values():
        ledger.check(node)
