#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures Kelp beside its floor and its peers: interleaved rounds, medians, ratios of one round.

    bench/run.py [--quick] [--rounds 5] [--seconds 3] [--only WORD] [--history FILE] [--list]

Each round runs every system in every case once, so that a slow minute hits all of them; before each
run the disk and the processors are probed, and what ran in a slow moment is inconclusive and left
out of the medians. Results are appended to the history, a line a case and system, and printed as
the table of what Kelp must reach. bench/README.md says what is measured how. Exit status: 0 all
ran, 1 something failed, 2 wrong usage; never a matter of speed.
"""
import argparse
import datetime
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, "bench")

import cases as rows
import measure
import report
import systems


def run_one(system, case, base, options):
    """One run: its result or its error, with what the moment was like."""
    folder = tempfile.mkdtemp(prefix=f"{system.name}-", dir=base)
    try:
        out = {"probe": measure.probe(base, 0.2 if options.quick else 1)}
        try:
            out["result"] = case.run(system, folder, options)
        except (RuntimeError, OSError, KeyError, ValueError,
                subprocess.SubprocessError) as error:
            out["error"] = f"{type(error).__name__}: {error}"
        return out
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def told(case, one):
    """A run in a few words."""
    if "error" in one:
        return one["error"]
    if not case.special:
        return f"{one['result']['per_second']:.0f}/s"
    field, heading = case.columns[0]
    value = one["result"][field]
    many = value if isinstance(value, list) else [value]
    return f"{heading} " + " ".join(f"{v:.4g}" for v in many)


def run_all(used, cases, base, options, runs):
    """Fills runs: by case and system, one a round."""
    for number in range(options.rounds):
        for case in cases:
            if number >= (case.rounds or options.rounds):
                continue
            takes = case.takes_quick if options.quick else case.takes
            for system in filter(takes, used):
                one = run_one(system, case, base, options)
                runs.setdefault((case.name, system.name), []).append(one)
                print(f"round {number + 1}/{options.rounds}  {case.name:30} {system.label:20} "
                      f"{told(case, one)}  (sync {one['probe']['sync_us']:.0f} us, others use "
                      f"{100 * one['probe']['busy']:.0f} %)", file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="one short round, six minutes")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of counting, a run")
    parser.add_argument("--only", default="", help="a group, or a part of names of cases, systems")
    parser.add_argument("--dir", default="build/bench-data", help="on the disk to be measured")
    parser.add_argument("--history", default="bench/history.jsonl", help='"" writes none')
    parser.add_argument("--list", action="store_true", help="cases, systems, what is missing")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (1.0 if options.quick else 3.0)
    options.warm_up = 0.3 if options.quick else 1.0
    if options.rounds < 1 or not 0.1 <= options.seconds <= 3600:
        parser.error("--rounds must be at least 1, --seconds 0.1 to 3600")
    return options


def chosen(options):
    """The systems that are there and the cases that can run, and some system takes."""
    used = []
    for system in systems.all_systems():
        why = system.missing()
        if why:
            print(f"skipped: {system.label}: {why}", file=sys.stderr)
        else:
            used.append(system)
    cases = rows.chosen(options.only)
    if not cases:  # a system then
        used, cases = [s for s in used if options.only in s.name], rows.CASES
    takes = [c for c in cases if any((c.takes_quick if options.quick else c.takes)(s)
                                     for s in used)]
    cases = []
    for case in takes:
        why = case.needs(case)
        if why:
            print(f"skipped: {case.name}: {why}", file=sys.stderr)
        else:
            cases.append(case)
    return used, cases


def main():
    options = arguments()
    used, cases = chosen(options)
    if options.list or not cases:
        for case in cases:
            takes = case.takes_quick if options.quick else case.takes
            print(f"{case.word + ': ' if case.word else ''}{case.name}: "
                  f"{', '.join(s.label for s in used if takes(s))}")
        return 0 if cases else 2
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # thousands of connections
    os.makedirs(options.dir, exist_ok=True)
    base = os.path.abspath(options.dir)
    runs, interrupted = {}, False
    try:
        run_all(used, cases, base, options, runs)
    except KeyboardInterrupt:  # what is known after an hour is not thrown away
        print("interrupted: what was measured until now follows", file=sys.stderr)
        interrupted = True
    if not runs:
        return 1
    report.judge_moments(runs)
    lines = report.summarise(runs, cases, used)
    head = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "commit": measure.commit("."), "machine": {**measure.machine(base),
                                                       **report.disk(runs)},
            "quick": options.quick, "seconds": options.seconds}
    if options.history:
        with open(options.history, "a", encoding="utf-8") as f:
            f.writelines(json.dumps({**head, **line}) + "\n" for line in lines)
    machine = head["machine"]
    print(f"{head['commit']}  {head['date']}  {machine['cores']} x {machine['cpu']}, "
          f"{machine['kernel']}, {machine['fs']}, sync {machine['sync_us_best']:.0f} us at best, "
          f"{machine['sync_us_median']:.0f} us as a rule")
    report.print_table(lines, cases)
    failed = [(key, one["error"]) for key, many in runs.items() for one in many if "error" in one]
    for (case, system), error in failed:
        print(f"failed: {case}: {system}: {error}", file=sys.stderr)
    return 1 if failed or interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
