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

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench"))

import cases
import failover
import report

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


def test_a_fill_writes_every_key_before_anything_counts(make_cluster):
    cluster = make_cluster(1)
    status, said = bench(cluster, "--clients", "3", "--keys", "2000", "--value", "16", "--fill")
    assert status == 0 and said["command"] == "set", said
    with cluster.leader().raw() as c:
        assert c.call("DBSIZE") >= 2000  # and the key that make_cluster waits for


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


def program_beside(program, name):
    path = os.path.join(os.path.dirname(program), "bench", name)
    assert os.access(path, os.X_OK), f"{path} is not there; build the target benches"
    return path


def test_writers_alone_count_the_middle_one_and_read_their_files_back(program, tmp_path):
    driver = program_beside(program, "bench-floor")
    status, said, complaints = finish(begin(
        driver, tmp_path / "run", "--writers", "3", "--in-flight", "100", "--seconds", "0.3",
        "--warm-up", "0.1"))
    assert status == 0 and said["verified"] is True, complaints
    assert said["nodes"] == 3 and said["operations"] % 100 == 0 and said["operations"] > 0
    assert FIELDS <= set(said)


def test_the_simulators_pace_is_of_runs_that_passed(program):
    run = subprocess.run([program_beside(program, "bench-simulator"), "--seconds", "1"],
                         capture_output=True, text=True, timeout=120, check=False)
    said = json.loads(run.stdout)
    assert run.returncode == 0 and said["verified"] is True, run.stderr
    assert said["nodes"] == 5 and said["seeds"] > 0 and said["operations"] > 1000 * said["seeds"]
    ratio = said["times_real_time"] / said["simulated_seconds"] * said["cpu_seconds"]
    assert 0.98 < ratio < 1.02, said


@pytest.mark.parametrize("words", [["--in-flight", "0"], ["--value", "x"], ["--nodes"],
                                   ["--seconds", "-1"], ["--what", "1"]])
def test_a_driver_names_a_mistake(driver, tmp_path, words):
    process = begin(driver, tmp_path / "run", *words)
    out, complaints = process.communicate(timeout=60)
    assert process.returncode == 2 and not out and words[0] in complaints


# ---- the rows -----------------------------------------------------------------------------------


class Asked:
    """What a measurement is asked for."""

    quick, seconds, warm_up = True, 0.3, 0.1


class Named:
    servers = True

    def __init__(self, name):
        self.name = self.label = name


def runs_of(case, **rates):
    """One run a rate: None failed, a tuple was in a slow moment."""
    runs = {}
    for name, many in rates.items():
        for rate in many:
            slow = isinstance(rate, tuple)
            one = {"probe": {"sync_us": 1000 if slow else 100, "busy": 0}}
            if rate is None:
                one["error"] = "RuntimeError: none"
            else:
                one["result"] = {"per_second": rate[0] if slow else rate, "p99_us": 1.0}
            runs.setdefault((case.name, name), []).append(one)
    report.judge_moments(runs)
    return runs


def lines_of(case, runs):
    used = [Named(name) for _, name in runs]
    return {line["system"]: line for line in report.summarise(runs, [case], used)}


def test_ratios_are_of_one_round_and_slow_moments_are_left_out():
    case = cases.Case("a case", targets=[cases.beside(0.5, "floor")])
    lines = lines_of(case, runs_of(case, kelp=[10, (1,), 30, None], floor=[20, 20, 40, 40]))
    ours = lines["kelp"]
    assert (ours["per_second"], ours["rounds"], ours["conclusive"], ours["failed"]) == (20, 4, 2, 1)
    assert ours["spread"] == [10, 30] and ours["to_floor"] == [0.625, 0.5, 0.75]
    assert report.verdict(ours, case.targets[0]) == ">= 0.5 x floor: 0.625, met"
    lines = lines_of(case, runs_of(case, kelp=[10, (90,)], floor=[40, 40]))
    assert report.verdict(lines["kelp"], case.targets[0]) == ">= 0.5 x floor: 0.25, MISSED"


def test_nothing_is_judged_when_no_moment_was_good():
    case = cases.Case("a case", targets=[
        cases.at_most("p99", "p99_us", 5),
        cases.Either(cases.beside(1, "floor"), cases.beside(1, "redis"))])
    lines = lines_of(case, runs_of(case, kelp=[(10,), (30,)], floor=[20, 20]))
    assert lines["kelp"]["per_second"] == 20 and lines["kelp"]["conclusive"] == 0
    for target in case.targets:
        assert report.verdict(lines["kelp"], target).endswith("not known")


def test_the_gaps_of_all_rounds_are_judged_together():
    case = next(c for c in cases.FAILOVER if "20/200" in c.name)
    runs = {(case.name, name): [
        {"probe": {"sync_us": 1, "busy": 0}, "result": {"gap_ms": gaps, "operations": 9}}
        for gaps in many] for name, many in {
            "kelp": [[100, 300], [200, 250, 900]], "etcd": [[200], [300, 400]]}.items()}
    report.judge_moments(runs)
    ours = lines_of(case, runs)["kelp"]
    assert (ours["gap_ms"], ours["gap_worst_ms"], ours["kills"]) == (250, 900, 5)
    assert [t.judge(ours)[1] for t in case.targets] == [True, False]
    assert ours["gap_to_etcd"] == round(250 / 300, 3) and ours["gap_worst_to_etcd"] == 2.25


def test_every_case_has_a_name_of_its_own_and_every_group_is_found():
    names = [case.name for case in cases.CASES]
    assert len(names) == len(set(names))
    for word in ("values", "nodes", "clients", "pipelines", "keys", "log", "load", "rest",
                 "restart", "catch-up", "memory", "fair", "failover", "simulator"):
        assert {case.word for case in cases.chosen(word)} == {word}


def is_measured(program):
    if program != os.path.abspath(default_program()):
        pytest.skip("the bench measures build/kelp")


class Forgetful(failover.Resp):
    """As if the cluster had lost the last write that it acknowledged."""

    @staticmethod
    def held(nodes, numbers):
        return failover.Resp.held(nodes, numbers[:-1] + [10 ** 9])


def test_a_gap_is_measured_from_one_leader_to_the_next(program, tmp_path, monkeypatch):
    is_measured(program)
    monkeypatch.setattr(failover, "KILLS", 1)
    case = next(c for c in cases.FAILOVER if "20/200" in c.name)
    timers = {"heartbeat_ms": 20, "election_ms": 200}
    said = case.measured["kelp"](case, str(tmp_path), Asked)
    assert len(said["gap_ms"]) == 1 and said["operations"] > 2 * failover.STEADY, said
    assert said["gap_ms"][0] > 150, "nobody stands for election before 200 ms without a leader"
    (tmp_path / "again").mkdir()
    with pytest.raises(RuntimeError, match="were acknowledged and"):
        failover.failover(failover.KelpNodes, Forgetful, 20, **timers)(
            case, str(tmp_path / "again"), Asked)


def test_a_row_that_is_no_throughput_is_in_history_and_page(program, tmp_path):
    is_measured(program)
    history, page = tmp_path / "history.jsonl", tmp_path / "page.html"
    run = subprocess.run([sys.executable, os.path.join(ROOT, "bench", "run.py"), "--quick",
                          "--only", "memory of an entry", "--dir", str(tmp_path / "data"),
                          "--history", str(history)], text=True, capture_output=True, timeout=180,
                         check=False)
    assert run.returncode == 0, run.stderr
    line = json.loads(history.read_text())
    assert line["figure"] == "bytes_per_entry" and line["entries"] == 8000
    assert line["bytes_per_entry"] > 0 and line["machine"]["sync_us_best"] > 0
    swept = {"case": "5 nodes", "group": "nodes", "system": "kelp", "label": "kelp server",
             "per_second": 5000, "date": line["date"], "rounds": 1, "conclusive": 1}
    gap = {"case": "gap", "group": "failover", "system": "kelp", "label": "kelp server",
           "figure": "gap_ms", "gap_ms": 200, "gap_worst_ms": 300, "kills": 4, "spread": [150, 300],
           "date": line["date"], "rounds": 1, "conclusive": 1}
    with history.open("a") as f:
        f.write("no JSON\n" + "".join(json.dumps(x) + "\n" for x in (swept, gap)))
    drawn = subprocess.run([sys.executable, os.path.join(ROOT, "bench", "chart.py"), "--history",
                            str(history), "--html", str(page), "--svg", str(tmp_path / "svg")],
                           capture_output=True, text=True, timeout=60, check=False)
    assert drawn.returncode == 0 and f"{history}:2:" in drawn.stderr, drawn.stderr
    assert page.read_text().count("<rect") == 2 and "bytes per entry" in page.read_text()
    assert (tmp_path / "svg").read_text().count("<rect") == 1  # README's has no sweeps


def test_run_py_writes_a_history_that_chart_py_draws(program, tmp_path):
    if program != os.path.abspath(default_program()):
        pytest.skip("run.py measures build/kelp")
    root = os.path.dirname(os.path.dirname(program))
    history, page = tmp_path / "history.jsonl", tmp_path / "page.html"
    run = subprocess.run([sys.executable, os.path.join(root, "bench", "run.py"), "--quick",
                          "--seconds", "0.3", "--only", "SET, 64 clients, pipeline 16", "--dir",
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
