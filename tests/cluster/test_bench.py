# SPDX-License-Identifier: Apache-2.0
"""`kelp bench` and the measured programs: that what they count is true, never how fast it was."""
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from kelp import default_program, end_with_parent, wait_for

SHORT = ["--seconds", "0.3", "--warm-up", "0.05", "--json"]


def at(*nodes):
    return ",".join(f"127.0.0.1:{n.client_port}" for n in nodes)


def bench(cluster, *words, where=None):
    run = cluster.kelp("bench", *words, *SHORT, at=where or at(*cluster.nodes.values()))
    assert run.stdout, run.stderr
    return run.returncode, json.loads(run.stdout)


# ---- kelp bench ---------------------------------------------------------------------------------


def test_bench_counts_what_happened_and_reads_it_back(make_cluster):
    cluster = make_cluster(3)
    for words in (["--clients", "1"], ["--clients", "16", "--pipeline", "16", "--value", "5000"],
                  ["--command", "get", "--keys", "300", "--clients", "7"],
                  ["--command", "mixed", "--keys", "50", "--value", "3"]):
        before = cluster.leader().number("applied_index")
        status, said = bench(cluster, *words)
        assert status == 0 and said["verified"] is True, said
        assert said["operations"] > 0 and said["read_back"] > 0
        assert said["wrong"] == said["unanswered"] == 0 and said["errors"] == {}
        assert said["p50_us"] <= said["p99_us"] <= said["max_us"]
        if said["command"] == "set":  # warm-up and drain come on top of the window
            applied = cluster.leader().number("applied_index") - before
            assert applied >= said["operations"]
    cluster.wait_equal()


def test_an_open_loop_keeps_its_schedule(make_cluster):
    cluster = make_cluster(3)
    status, said = bench(cluster, "--clients", "8", "--rate", "200", "--keys", "100")
    assert status == 0, said
    due = said["seconds"] * 200
    assert abs(said["operations"] + said["unsent"] - due) <= 40, said  # warm-up's and drain's ends


def test_errors_are_counted_and_spoil_no_key(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.leader()
    others = [n for n in cluster.nodes.values() if n is not leader]
    running = subprocess.Popen(
        [cluster.program, "bench", "--at", at(*others), "--clients", "8", "--keys", "64",
         "--seconds", "3", "--warm-up", "0", "--json"], stdout=subprocess.PIPE, text=True)
    wait_for(lambda: leader.number("applied_index") > 50, "the load has begun")
    leader.kill()
    said = json.loads(running.communicate(timeout=60)[0])
    assert running.returncode == 0 and said["wrong"] == 0, said
    assert said["read_back"] > 0 and said["longest_gap_ms"] > 0
    assert set(said["errors"]) <= {"UNCERTAIN", "CLUSTERDOWN", "TRYAGAIN"}, said


class Liar(threading.Thread):
    """Answers every SET with OK and every GET with something else than was written."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    @staticmethod
    def serve(connection):
        lie = b"+PONG\r\n"
        with connection, connection.makefile("rb") as requests:
            while head := requests.readline():
                words = []
                for _ in range(int(head[1:])):
                    words.append(requests.read(int(requests.readline()[1:]) + 2)[:-2])
                if words[0] == b"SET":
                    lie = b"+OK\r\n"
                elif words[0] == b"GET":
                    lie = b"$16\r\n0000000000000000\r\n"
                connection.sendall(lie)


def test_a_server_that_forgets_is_found_out(program):
    liar = Liar()
    liar.start()
    try:
        for command in ("set", "mixed", "get"):
            run = subprocess.run([program, "bench", "--at", f"127.0.0.1:{liar.port}", "--clients",
                                  "2", "--keys", "20", "--value", "16", "--command", command,
                                  *SHORT], capture_output=True, text=True, timeout=60, check=False)
            said = json.loads(run.stdout)
            assert run.returncode == 1 and said["verified"] is False, said
            assert said["wrong"] > 0, said
    finally:
        liar.listener.close()


# ---- the measured programs ----------------------------------------------------------------------

FIELDS = {"system", "version", "nodes", "in_flight", "value", "seconds", "operations", "p50_us",
          "p90_us", "p99_us", "p999_us", "max_us", "cpu_us_per_operation",
          "context_switches_per_operation", "verified"}


@pytest.fixture(params=["floor", "kelp"])
def driver(request, program):
    path = os.path.join(os.path.dirname(program), "bench", f"bench-{request.param}")
    assert os.access(path, os.X_OK), f"{path} is not there; build the target benches"
    return path


def begin(driver, folder, *words):
    return subprocess.Popen([driver, "--dir", str(folder), *words], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, preexec_fn=end_with_parent)


def finish(process):
    out, complaints = process.communicate(timeout=180)
    assert out.count("\n") == 1, out + complaints
    return process.returncode, json.loads(out), complaints


@pytest.mark.parametrize("words", [["--in-flight", "1"], ["--in-flight", "64", "--value", "16"],
                                   ["--in-flight", "3", "--value", "100000", "--nodes", "1"]])
def test_a_driver_verifies_what_it_counted(driver, tmp_path, words):
    status, said, complaints = finish(begin(driver, tmp_path / "run", "--seconds", "0.3",
                                            "--warm-up", "0.1", *words))
    assert status == 0 and said["verified"] is True, complaints
    assert FIELDS <= set(said), FIELDS - set(said)
    assert said["operations"] > 0 and said["in_flight"] == int(words[1])
    assert said["p50_us"] <= said["p99_us"] <= said["max_us"]


def children(pid):
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and parent(name) == pid]


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return int(f.read().rsplit(")", 1)[1].split()[1])
    except FileNotFoundError:
        return None


def test_a_driver_that_lost_a_node_is_not_verified(driver, tmp_path):
    process = begin(driver, tmp_path / "run", "--seconds", "60", "--warm-up", "0")
    pids = wait_for(lambda: len(children(process.pid)) == 3 and children(process.pid), "3 nodes")
    os.kill(max(pids), signal.SIGKILL)
    status, said, complaints = finish(process)
    assert status == 1 and said["verified"] is False, said
    assert "ended with status 9" in complaints


@pytest.mark.parametrize("words", [["--in-flight", "0"], ["--value", "x"], ["--nodes"],
                                   ["--seconds", "-1"], ["--what", "1"]])
def test_a_driver_names_a_mistake(driver, tmp_path, words):
    process = begin(driver, tmp_path / "run", *words)
    out, complaints = process.communicate(timeout=60)
    assert process.returncode == 2 and not out and words[0] in complaints


def test_run_py_writes_a_history_that_chart_py_draws(program, tmp_path):
    if program != os.path.abspath(default_program()):
        pytest.skip("run.py measures build/kelp")
    root = os.path.dirname(os.path.dirname(program))
    history, page = tmp_path / "history.jsonl", tmp_path / "page.html"
    run = subprocess.run([sys.executable, os.path.join(root, "bench", "run.py"), "--quick",
                          "--seconds", "0.3", "--only", "GET, 64 clients", "--dir",
                          str(tmp_path / "data"), "--history", str(history)], text=True,
                         capture_output=True, timeout=180, check=False)
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in history.read_text().splitlines()]
    assert {"floor", "kelp", "redis"} <= {line["system"] for line in lines}
    assert all(line["per_second"] > 0 and line["failed"] == 0 and line["commit"] for line in lines)
    for line in lines:
        assert line["label"] in run.stdout
    drawn = subprocess.run([sys.executable, os.path.join(root, "bench", "chart.py"), "--history",
                            str(history), "--html", str(page)], capture_output=True, text=True,
                           timeout=60, check=False)
    assert drawn.returncode == 0, drawn.stderr
    assert page.read_text().count("<rect") == len(lines)
