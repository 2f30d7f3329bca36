# SPDX-License-Identifier: Apache-2.0
"""The command line, as people and scripts use it."""
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from kelp import Raw, end_with_parent, wait_for


def run(program, *words, timeout=60, **env):
    return subprocess.run([program, *words], text=True, capture_output=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, env=dict(os.environ, **env), check=False)


def one_line(text):
    return text.count("\n") == 1 and text.startswith("kelp")


# ---- words and mistakes -------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["status", "get", "set", "del", "call", "log", "dev", "demo",
                                  "sim", "server"])
def test_every_verb_explains_itself(program, verb):
    said = run(program, verb, "--help")
    assert said.returncode == 0 and verb in said.stdout and not said.stderr


def test_more_words_of_help(program):
    assert "Flags stand before COMMAND" in run(program, "call", "--help").stdout
    said = run(program, "sim", "scenario", "--help")
    assert said.returncode == 0 and "--rewrite" in said.stdout and not said.stderr
    settings = run(program, "server", "--settings").stdout
    assert re.search(r"^id .* \[0, 1\.\.\d+\]$", settings, re.M), settings


def test_version_names_the_formats(program):
    said = run(program, "--version")
    assert said.returncode == 0
    assert re.match(r"^kelp \S+, commit \S+, protocol \d+, log \d+, snapshot \d+\n$", said.stdout)


@pytest.mark.parametrize("words, expected", [
    (["nonsense"], "nonsense"), (["get"], "too few"), (["get", "a", "b"], "b"),
    (["get", "--colour", "a"], "--colour"), (["status", "--at"], "--at"),
    (["dev", "--nodes", "0"], "--nodes 0"), (["dev", "--nodes", "many"], "many"),
    (["log", "dump"], "directory"), (["log", "nonsense", "x"], "nonsense"),
    (["sim", "run", "--seed", "x"], "--seed x"), (["set", "--json=1", "a", "b"], "--json"),
    (["get", "x", "--at", "nonsense"], "--at nonsense: must be HOST:PORT"),
    (["status", "--at", "127.0.0.1:1,"], "must be HOST:PORT"), (["dev", "frob"], "frob: must be"),
    (["server", "--id", "x"], "id x: must be 1..9223372036854775807"),
    (["server", "--id", "0"], "id 0: must be 1..9223372036854775807"),
    (["sim", "scenario", "/nonexist"], "/nonexist: No such file"),
])
def test_mistakes_get_one_line_and_status_2(program, words, expected):
    said = run(program, *words)
    assert said.returncode == 2, said.stderr
    assert one_line(said.stderr) and expected in said.stderr, said.stderr
    assert not said.stdout


@pytest.mark.parametrize("words", [["--version"], ["sim", "run", "--hurt", "1"],
                                   ["sim", "check", "-"]])
def test_output_that_is_lost_is_a_failure(program, words):
    with open("/dev/full", "w", encoding="utf-8") as full:
        said = subprocess.run([program, *words], stdout=full, stderr=subprocess.PIPE, text=True,
                              stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert said.returncode == 1
    assert one_line(said.stderr) and "not written" in said.stderr, said.stderr


def test_a_directory_of_something_else_is_not_called_damaged(program, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    said = run(program, "log", "dump", str(tmp_path))
    assert said.returncode == 1 and one_line(said.stderr), said.stderr
    assert "no data directory" in said.stderr and "damaged" not in said.stderr


@pytest.mark.parametrize("words", [["top"], ["watch", "k"], ["doctor"], ["log", "verify", "x"]])
def test_what_is_not_built_yet_says_so(program, words):
    said = run(program, *words)
    assert said.returncode == 2 and one_line(said.stderr), said.stderr
    assert "not in this version" in said.stderr


def test_nobody_there_is_one_line_and_status_1(program):
    said = run(program, "get", "a", "--at", "127.0.0.1:1,127.0.0.1:2")
    assert said.returncode == 1 and one_line(said.stderr), said.stderr
    assert "127.0.0.1:1" in said.stderr and "127.0.0.1:2" in said.stderr
    assert run(program, "status", KELP_AT="127.0.0.1:1").returncode == 1


# ---- against a cluster --------------------------------------------------------------------------


def test_get_set_del_and_call(make_cluster):
    cluster = make_cluster(3)
    assert cluster.kelp("set", "k", "a value").stdout == "OK\n"
    assert cluster.kelp("get", "k").stdout == "a value\n"
    assert cluster.kelp_json("get", "k") == {"key": "k", "value": "a value"}
    assert cluster.kelp("del", "k", "none").stdout == "1\n"
    missing = cluster.kelp("get", "k")
    assert missing.returncode == 1 and one_line(missing.stderr) and not missing.stdout
    assert json.loads(cluster.kelp("get", "k", "--json").stdout) == {"key": "k", "value": None}
    assert cluster.kelp_json("set", "k", "1") == {"ok": True}
    assert cluster.kelp_json("del", "k") == {"deleted": 1}
    assert cluster.kelp("call", "INCRBY", "n", "41").stdout == "41\n"
    said = cluster.kelp("call", "--json", "MGET", "n", "none")
    assert json.loads(said.stdout) == {"answer": ["41", None]}
    assert cluster.kelp("set", "--", "--key", "--json").stdout == "OK\n"
    assert cluster.kelp("get", "--", "--key").stdout == "--json\n"
    wrong = cluster.kelp("call", "INCR", "--key")
    assert wrong.returncode == 1 and "not an integer" in wrong.stderr


def test_mistakes_that_a_node_finds_end_with_status_2(make_cluster):
    cluster = make_cluster(1)
    for words, expected in [
            (("members", "add", "x"), "no id 'x'"), (("members", "remove"), "wrong number of"),
            (("members", "add", "2", "nowhere"), "no address 'nowhere'"),
            (("members", "add", "2", "127.0.0.1:1", "king"), "no role 'king'"),
            (("members", "priority", "1", "256"), "0 to 255"),
            (("members", "remove", "1", "at", "once"), "makes no sense here"),
            (("members", "plan", "explode", "1"), "no change of members"),
            (("members", "set", "1=127.0.0.1:1", "1=127.0.0.1:2"), "BAD_CHANGE"),
            (("transfer", "x"), "a number above 0"), (("drain", "x"), "a number above 0"),
            (("undrain", "0"), "a number above 0"), (("call", "FROB"), "unknown command"),
            (("call", "GET"), "wrong number of arguments"),
            (("call", "RAFT", "FROB"), "unknown subcommand"),
            (("call", "RAFT", "WHY"), "not in this version"),
            (("call", "RAFT", "SNAPSHOT", "never"), "RAFT SNAPSHOT NOW"),
            (("call", "RAFT", "READ", "fresh"), "a read level is"),
            (("call", "CLIENT", "LIST", "x"), "syntax error")]:
        said = cluster.kelp(*words)
        assert said.returncode == 2, (words, said)
        assert one_line(said.stderr) and expected in said.stderr and not said.stdout, (words, said)
    for words, expected in [
            (("members", "remove", "1"), "LAST_VOTER"), (("members", "remove", "9"), "UNKNOWN"),
            (("transfer", "9"), "UNKNOWN_MEMBER"), (("transfer",), "NO_CANDIDATE"),
            (("drain", "9"), "no member"), (("bootstrap",), "HAS_CLUSTER")]:
        said = cluster.kelp(*words)
        assert said.returncode == 1 and expected in said.stderr, (words, said)
    said = cluster.kelp("call", "--json", "GET")
    assert said.returncode == 2 and "error" in json.loads(said.stdout)["answer"], said


def test_client_verbs_try_the_other_addresses(make_cluster):
    cluster = make_cluster(3)
    dead = cluster.followers()[0]
    dead.kill()
    alive = cluster.wait_leader()
    at = f"127.0.0.1:{dead.client_port},127.0.0.1:{alive.client_port}"
    assert cluster.kelp("set", "k", "v", at=at).stdout == "OK\n"


def test_status_finds_all_nodes_from_one(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    follower = cluster.followers()[0]
    at = f"127.0.0.1:{follower.client_port}"

    def all_named():
        status = json.loads(cluster.kelp("status", "--json", at=at).stdout)
        return status if len(status["nodes"]) == 3 else None
    status = wait_for(all_named, "status names all nodes")
    assert status["node_id"] == follower.id and status["leader_id"] == leader.id
    assert {n["node_id"] for n in status["nodes"]} == {1, 2, 3}
    peers = [n["peers"] for n in status["nodes"] if n["node_id"] == leader.id][0]
    assert {p["id"] for p in peers} == {1, 2, 3} - {leader.id}
    text = cluster.kelp("status", at=at).stdout
    assert f"node {leader.id} leads" in text and text.count("follower") == 2
    assert "\033" not in text, "colours are for terminals"
    follower.kill()
    text = cluster.kelp("status").stdout
    assert "unreachable" in text and "Connection refused" in text


def test_status_says_who_must_come_back_where_nobody_leads(make_cluster):
    cluster = make_cluster(3)
    first, second = cluster.followers()
    alone = cluster.wait_leader()
    first.kill()
    second.kill()
    wait_for(lambda: alone.number("leader_id") == 0, "nobody leads")
    at = f"127.0.0.1:{alone.client_port}"
    low, high = sorted((first.id, second.id))
    words = "1 of 3 voters answers, 2 are needed; 1 of these must come back: " \
            f"node {low}, node {high}"
    said = run(cluster.program, "status", "--at", at)
    assert said.returncode == 0 and f", no leader: {words}\n" in said.stdout, said.stdout
    for node in (first, second):
        row = [line for line in said.stdout.splitlines() if str(node.client_port) in line][0]
        assert row.split()[:2] == [str(node.id), "unreachable"], row
    why = json.loads(run(cluster.program, "status", "--json", "--at", at).stdout)["leaderless"]
    assert why == {"words": words, "voters": 3, "answer": 1, "needed": 2, "missing": [low, high]}
    first.start()
    cluster.wait_leader()
    assert "leaderless" not in cluster.kelp_json("status")


def test_status_says_what_may_still_be_lost(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    wait_for(lambda: leader.number("tolerates") == 1, "both others answer")
    away = cluster.followers()[0]
    away.pause()
    wait_for(lambda: leader.number("tolerates") == 0, "the one that is away is not counted")
    said = run(cluster.program, "status", "--at", f"127.0.0.1:{leader.client_port}")
    assert said.returncode == 0 and "may lose 0 more" in said.stdout, said.stdout
    row = [line for line in said.stdout.splitlines() if str(away.client_port) in line][0]
    assert "no answer: not within 1000 ms" in row and "outcome" not in row, row
    away.resume()
    wait_for(lambda: leader.number("tolerates") == 1, "it is back")


def test_a_data_directory_that_others_may_enter_is_told(make_cluster):
    cluster = make_cluster(1)
    node = cluster.nodes[1]
    assert "open to other users" not in node.log()
    assert node.stop() == 0
    os.chmod(node.data, 0o777)
    node.start()
    wait_for(lambda: "is open to other users (mode 0777): chmod 700 it" in node.log(), "it says so")


def test_status_watch_repeats(make_cluster):
    cluster = make_cluster(1)
    node = cluster.nodes[1]
    watch = subprocess.Popen([cluster.program, "status", "--watch", "--json", "--at",
                              f"127.0.0.1:{node.client_port}"], stdout=subprocess.PIPE, text=True,
                             preexec_fn=end_with_parent)
    for _ in range(3):
        assert json.loads(watch.stdout.readline())["node_id"] == 1
    watch.terminate()
    watch.wait(timeout=5)


def test_log_dump_shows_a_directory_and_never_writes(make_cluster):
    cluster = make_cluster(3)
    node = cluster.followers()[0]
    cluster.kelp("set", "k", "v")
    cluster.wait_equal()
    applied = node.number("applied_index")
    node.kill()
    before = {path: os.stat(path).st_mtime_ns for path in files_below(node.data)}
    status, text = node.dump()
    assert status == 0, text
    assert "identity copy 0" in text and "vote copy 1" in text and f" {applied}@" in text
    assert before == {path: os.stat(path).st_mtime_ns for path in files_below(node.data)}
    lines = run(cluster.program, "log", "dump", node.data, "--json").stdout.splitlines()
    assert [json.loads(line)["line"] for line in lines] == text.splitlines()
    with open(os.path.join(node.data, "vote"), "r+b") as f:
        f.seek(20)
        f.write(b"\xff" * 8)
    status, text = node.dump()
    assert status == 1 and "vote copy 0" in text
    nowhere = run(cluster.program, "log", "dump", node.data + "-none")
    assert nowhere.returncode == 1 and one_line(nowhere.stderr)
    assert not os.path.exists(node.data + "-none"), "a dump makes nothing"


def files_below(directory):
    return [os.path.join(top, name) for top, _, names in os.walk(directory) for name in names]


# ---- the demo -----------------------------------------------------------------------------------


def test_the_demo_loses_nothing(program, tmp_path):
    begin = time.monotonic()
    said = run(program, "demo", "--explain", timeout=60, TMPDIR=str(tmp_path))
    assert said.returncode == 0, said.stdout + said.stderr
    assert time.monotonic() - begin < 30
    assert "kill -9 node" in said.stdout and "leads term" in said.stdout
    assert "Nothing that was acknowledged is lost." in said.stdout
    assert "\033" not in said.stdout and "\r" not in said.stdout, "no terminal, no screen control"
    assert not os.listdir(tmp_path), "it cleans up behind itself"


def test_the_demo_speaks_json(program, tmp_path):
    said = run(program, "demo", "--json", timeout=60, TMPDIR=str(tmp_path))
    assert said.returncode == 0, said.stderr
    *events, summary = [json.loads(line) for line in said.stdout.splitlines()]
    assert len(events) > 5 and all("event" in e and "ms" in e for e in events)
    assert summary["ok"] is True and summary["lost"] == 0
    assert summary["acknowledged"] + summary["uncertain"] == 10000
    assert summary["found"] == [summary["acknowledged"]] * 3
    assert len(set(summary["hashes"])) == 1


# ---- dev ----------------------------------------------------------------------------------------


PORT_LOCKS = []  # held to the end of the session: another session on this machine looks elsewhere


def free_base_port(nodes=3):
    for base in range(17000, 30000, 300):
        lock = open(os.path.join(tempfile.gettempdir(), f"kelp-test-ports-{base}"), "w",
                    encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        PORT_LOCKS.append(lock)
        try:
            held = []
            for offset in (kind + i for kind in (0, 100, 200) for i in range(1, nodes + 1)):
                s = socket.socket()
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held.append(s)
                s.bind(("127.0.0.1", base + offset))
            return base
        except OSError:
            continue
        finally:
            for s in held:
                s.close()
    raise AssertionError("no free ports")


class Dev:
    def __init__(self, program, directory, *words, nodes=3):
        self.program, self.directory, self.base = program, directory, free_base_port()
        self.process = subprocess.Popen(
            [program, "dev", "--dir", directory, "--base-port", str(self.base), "--json",
             "--nodes", str(nodes), *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=end_with_parent)
        self.started = [json.loads(self.process.stdout.readline()) for _ in range(nodes)]
        self.pids = {e["node"]: e["pid"] for e in self.started}
        self.wait_leader()

    def wait_leader(self):
        def leader():
            for node in (1, 2, 3):
                try:
                    with Raw(self.base + node, timeout=3) as c:
                        if c.call("SET", "dev", "1") == "OK":
                            return True
                except Exception:  # pylint: disable=broad-except
                    pass
            return False
        wait_for(leader, "the dev cluster takes a write")

    def tell(self, *words):
        return run(self.program, "dev", "--dir", self.directory, *words)

    def event(self):
        return json.loads(self.process.stdout.readline())


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def test_dev_runs_a_cluster_that_can_be_hurt(program, tmp_path):
    dev = Dev(program, str(tmp_path / "dev"))
    try:
        assert [e["event"] for e in dev.started] == ["started"] * 3
        assert dev.started[0]["client"] == f"127.0.0.1:{dev.base + 1}"
        said = dev.tell("kill", "2")
        assert said.returncode == 0 and "node 2 killed" in said.stdout, said.stderr
        assert dev.event() == {"event": "killed", "node": 2, "words": ""}
        assert not alive(dev.pids[2])
        dev.wait_leader()
        assert "not running" in dev.tell("kill", "2").stdout
        assert dev.event()["event"] == "is not running"
        said = dev.tell("start", "2")
        assert "node 2 started" in said.stdout
        again = dev.event()
        assert again["event"] == "started" and again["pid"] != dev.pids[2]
        dev.process.stdin.write("pause 1\nresume 1\nnonsense\n")
        dev.process.stdin.flush()
        assert [dev.event()["event"] for _ in range(2)] == ["paused", "resumed"]
        wait_for(lambda: dev.tell("status").stdout.count("127.0.0.1") >= 3 and
                 "leads" in dev.tell("status").stdout, "status shows all nodes")
        shown = json.loads(dev.tell("status", "--json").stdout)
        assert [n["client"] for n in shown["nodes"]] == [e["client"] for e in dev.started]
        os.kill(dev.pids[3], signal.SIGKILL)
        while (event := dev.event())["event"] != "ended by itself":
            assert "words" in event or "pid" in event
        assert event["node"] == 3 and "signal 9" in event["words"]
        second = run(program, "dev", "--dir", dev.directory, "--base-port", str(dev.base))
        assert second.returncode == 1 and "another" in second.stderr
    finally:
        dev.process.terminate()
    assert dev.process.wait(timeout=10) == 0
    assert not any(alive(pid) for pid in (dev.pids[1], again["pid"]))
    assert dev.tell("status").returncode == 1


def test_dev_of_one_node_grows_a_node_at_a_time(program, tmp_path):
    dev = Dev(program, str(tmp_path / "dev"), nodes=1)
    one = f"127.0.0.1:{dev.base + 1}"

    def kelp(*words):
        said = run(program, *words, KELP_AT=one, timeout=60)
        assert said.returncode == 0, (words, said)
        return said.stdout

    try:
        said = dev.tell("start", "3")
        assert said.returncode == 2 and "needs a node, 1 to 2" in said.stdout, said
        assert dev.tell("kill", "2").returncode == 2
        for node in (2, 3):
            assert dev.tell("start", str(node)).returncode == 0
            assert dev.event()["client"] == f"127.0.0.1:{dev.base + node}"
            asks = dev.event()
            assert asks["event"] == "asks to join" and f"members add {node}" in asks["words"], asks
            wait_for(lambda node=node: f"node {node} at 127.0.0.1:{dev.base + 100 + node} asks to "
                     f"join: kelp members add {node}" in kelp("status"), "it is seen to ask")
            kelp("members", "add", str(node))
            assert "asks to join" not in kelp("status")
        shown = json.loads(kelp("status", "--json"))
        assert shown["voters"] == "1,2,3" and len(shown["nodes"]) == 3, shown
        assert dev.tell("kill", "3").returncode == 0 and dev.event()["event"] == "killed"
        assert dev.tell("start", "3").returncode == 0 and dev.event()["event"] == "started"
        wait_for(lambda: all("role" in n for n in json.loads(kelp("status", "--json"))["nodes"]),
                 "a node that joined comes back as it was")
    finally:
        dev.process.terminate()
    assert dev.process.wait(timeout=10) == 0


def test_dev_takes_its_nodes_along_when_it_is_killed(program, tmp_path):
    dev = Dev(program, str(tmp_path / "dev"))
    dev.process.kill()
    dev.process.wait()
    wait_for(lambda: not any(alive(pid) for pid in dev.pids.values()), "the nodes end too")


def test_dev_keeps_data_unless_it_is_told_to_begin_fresh(program, tmp_path):
    for words, expected in (([], None), ([], b"stays"), (["--fresh"], None)):
        dev = Dev(program, str(tmp_path / "dev"), *words)
        with Raw(dev.base + 1) as c:
            assert c.call("GET", "kept") == expected
            assert c.call("SET", "kept", "stays") == "OK"
        dev.process.stdin.write("quit\n")
        dev.process.stdin.flush()
        assert dev.process.wait(timeout=10) == 0
