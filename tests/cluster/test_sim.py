# SPDX-License-Identifier: Apache-2.0
"""kelp sim from a shell: what a failing seed prints, its trace, its case, and a soak that ends."""
import json
import os
import re
import signal
import subprocess

BROKEN = ["--seed", "1", "--broken", "apply"]
FOUND = r"FAIL (I28 StateDeterminism|I25 OKHonest)"  # by the state hash, or by a client's answer


def sim(program, *words, **options):
    return subprocess.run([program, "sim", *words], text=True, capture_output=True, timeout=300,
                          check=False, **options)


def last_line(said):
    return said.stdout.rstrip("\n").rsplit("\n", 1)[-1]


def test_a_failing_seed_names_the_command_for_the_event_before(program, tmp_path):
    said = sim(program, "run", *BROKEN, "--no-shrink", cwd=tmp_path)
    assert said.returncode == 1
    end = re.match(r"^seed 1 events (\d+) hash [0-9a-f]{16} " + FOUND + "$", last_line(said))
    assert end, said.stdout
    again = re.search(r"^up to the event before: kelp (sim run .*)$", said.stdout, re.M)[1]
    assert again.endswith(f" --until {int(end[1]) - 1}")
    before = subprocess.run([program, *again.split()], text=True, capture_output=True, timeout=60,
                            check=False)
    assert before.returncode == 0 and last_line(before).endswith(" STOPPED"), before.stdout
    assert end[2] not in before.stdout and "node 1 up" in before.stdout


def test_a_failing_seed_is_shrunk_to_a_case_that_fails_alike(program, tmp_path):
    said = sim(program, "run", *BROKEN, "--seconds", "2", cwd=tmp_path)
    assert said.returncode == 1 and "shrunk in" in said.stdout, said.stdout
    found = re.search(FOUND + "$", last_line(said))
    assert found, said.stdout
    assert (tmp_path / "kelp-sim-1.case").exists()
    again = re.search(r"^the case: kelp (sim run .*) --trace$", said.stdout, re.M)[1]
    case = subprocess.run([program, *again.split(), "--no-shrink"], text=True, cwd=tmp_path,
                          capture_output=True, timeout=60, check=False)
    assert case.returncode == 1 and last_line(case).endswith(found[0])


def test_shrink_refuses_a_seed_that_passes_and_writes_where_it_is_told(program, tmp_path):
    said = sim(program, "shrink", "--seed", "1", "--hurt", "5", cwd=tmp_path)
    assert said.returncode == 1 and "seed 1 passes" in said.stderr
    path = tmp_path / "small"
    said = sim(program, "shrink", *BROKEN, "--seconds", "1", "--out", str(path), cwd=tmp_path)
    assert said.returncode == 0 and path.exists(), said.stderr
    assert sim(program, "run", "--case", str(tmp_path / "none")).returncode == 1


def test_a_trace_in_columns_and_in_json_tells_the_same_run(program, tmp_path):
    path = tmp_path / "t.jsonl"
    said = sim(program, "run", "--seed", "3", "--hurt", "10", "--trace", "--nodes", "1,2",
               "--trace-json", str(path))
    plain = sim(program, "run", "--seed", "3", "--hurt", "10")
    assert said.returncode == 0 and last_line(said) == last_line(plain)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert records[0]["kind"] == "began" and records[-1]["kind"] == "passed"
    assert [r["record"] for r in records] == list(range(1, len(records) + 1))
    events = int(last_line(plain).split()[3])
    assert max(r["n"] for r in records) == events
    leaves = {r["frame"] for r in records if r["kind"] in ("sent", "lost")}
    arrives = {r["frame"] for r in records if r["kind"] in ("received", "dropped")}
    assert arrives <= leaves
    assert "node 1" in said.stdout and "node 3 " not in said.stdout.split("\n")[0]
    assert "becomes leader" in said.stdout and "== fault: " in said.stdout
    part = sim(program, "run", "--seed", "3", "--hurt", "10", "--trace-json", "-", "--from", "50",
               "--until", "60").stdout.splitlines()
    numbers = [json.loads(line)["n"] for line in part if line.startswith("{")]
    assert numbers[0] == 0 and min(numbers[1:]) >= 50 and max(numbers) == 60


def test_marks_that_no_seed_hit_have_a_reason(program):
    said = sim(program, "run", "--seeds", "100", "--hurt", "1")
    assert said.returncode == 0 and "never hit: TWO_LEADERS" in said.stdout, said.stdout
    strict = sim(program, "run", "--seeds", "100", "--hurt", "1", "--strict-marks")
    assert strict.returncode == (1 if "UNEXPLAINED" in said.stdout else 0)


def test_a_soak_ends_by_itself_and_on_a_signal(program, tmp_path):
    said = sim(program, "soak", "--hours", "0.0006", "--jobs", "2", "--seed", "1", "--broken",
               "apply", "--seconds", "1", "--out", str(tmp_path))
    assert said.returncode == 1 and "from seed 1 on" in said.stdout, said.stdout
    assert re.match(r"^\d+ seeds, \d+ events, \d+ faults, FAIL \d+, \d+ x real time$",
                    last_line(said))
    assert re.search(FOUND, (tmp_path / "seed-1.txt").read_text())
    assert (tmp_path / "seed-1.case").exists()
    with subprocess.Popen([program, "sim", "soak", "--out", str(tmp_path / "two")], text=True,
                          stdout=subprocess.PIPE, start_new_session=True) as soak:
        assert "from seed" in soak.stdout.readline()
        os.killpg(soak.pid, signal.SIGTERM)  # as a shell or a service manager does it
        assert "PASS" in soak.communicate(timeout=60)[0]
        assert soak.returncode == 0


def test_flags_that_do_not_go_together_are_named(program):
    for words, expected in ((["run", "--seeds", "2", "--trace"], "--trace"),
                            (["run", "--nodes", "9"], "--nodes 9"),
                            (["run", "--broken", "law"], "--broken law"),
                            (["soak", "--hours", "x"], "--hours x"),
                            (["run", "--from", "5", "--until", "4"], "--from 5"),
                            (["nonsense"], "nonsense")):
        said = sim(program, *words)
        assert said.returncode == 2 and expected in said.stderr, (words, said.stderr)
        assert said.stderr.count("\n") == 1
