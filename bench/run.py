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
import shutil
import statistics
import sys
import tempfile

sys.dont_write_bytecode = True
os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, "bench")

import measure
import systems

SLOW = 2.0  # times the best probe of this run
BUSY = 0.25  # of all processors, by others
FIELDS = ("per_second", "p50_us", "p90_us", "p99_us", "p999_us", "max_us", "cpu_us_per_operation",
          "context_switches_per_operation", "device_flushes_per_operation")


class Case:
    """One row of the table. Targets are (words, field, test on our median, ratio system)."""

    def __init__(self, name, servers, clients, pipeline=1, command="set", targets=()):
        self.name, self.servers, self.open, self.pipeline = name, servers, clients, pipeline
        self.command, self.targets, self.value, self.nodes = command, targets, 256, 3

    def takes(self, system):
        if system.servers != self.servers:
            return False
        return system.name != "etcd" or (self.command == "set" and self.pipeline == 1)


def at_least(times, system):
    return (f">= {times:g} x {system}", system, times)


def below(field, limit, words):
    return (words, field, limit)


CASES = [
    Case("library, 1 in flight", False, 1, targets=[
        at_least(0.95, "floor"),
        below("device_flushes_per_operation", 3.1, "2.9-3.1 flushes")]),
    Case("library, 64 in flight", False, 64, targets=[
        at_least(0.5, "floor"), at_least(3.5, "libraft"),
        below("cpu_us_per_operation", 8, "<= 8 us"), below("p99_us", 2000, "p99 < 2 ms")]),
    Case("library, 1000 in flight", False, 1000, targets=[
        at_least(10, "libraft"), below("cpu_us_per_operation", 2, "<= 2 us"),
        below("p99_us", 10000, "p99 < 10 ms")]),
    Case("SET, 1 client", True, 1, targets=[at_least(0.9, "floor")]),
    Case("SET, 64 clients", True, 64, targets=[
        at_least(0.8, "redis"), at_least(6, "etcd"),
        below("cpu_us_per_operation", 20, "<= 20 us")]),
    Case("SET, 64 clients, pipeline 16", True, 64, 16, targets=[
        at_least(0.5, "redis"), below("cpu_us_per_operation", 6, "<= 6 us")]),
    Case("GET, 64 clients", True, 64, command="get", targets=[at_least(0.9, "redis")]),
]


# ---- running ------------------------------------------------------------------------------------


def run_one(system, case, base, options):
    """One run: its result or its error, with what the moment was like."""
    folder = tempfile.mkdtemp(prefix=f"{system.name}-", dir=base)
    try:
        out = {"probe": measure.probe(base, 0.2 if options.quick else 1)}
        try:
            out["result"] = system.run(case, folder, options.seconds, options.warm_up)
        except (RuntimeError, OSError, KeyError, ValueError) as error:
            out["error"] = f"{type(error).__name__}: {error}"
        return out
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_all(used, cases, base, options):
    runs = {}
    for number in range(options.rounds):
        for case in cases:
            for system in filter(case.takes, used):
                one = run_one(system, case, base, options)
                runs.setdefault((case.name, system.name), []).append(one)
                told = one.get("error") or f"{one['result']['per_second']:.0f}/s"
                print(f"round {number + 1}/{options.rounds}  {case.name:30} {system.label:20} "
                      f"{told}  (sync {one['probe']['sync_us']:.0f} us, others use "
                      f"{100 * one['probe']['busy']:.0f} %)", file=sys.stderr, flush=True)
    return runs


def judge_moments(runs):
    """A run is inconclusive when the probe before it was slow or the machine was busy."""
    best = min(one["probe"]["sync_us"] for many in runs.values() for one in many)
    for many in runs.values():
        for one in many:
            slow = one["probe"]["sync_us"] > SLOW * best or one["probe"]["busy"] > BUSY
            one["conclusive"] = "result" in one and not slow


# ---- results ------------------------------------------------------------------------------------


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def ratios(ours, theirs):
    """Of the same rounds, where both are conclusive."""
    return [a["result"]["per_second"] / b["result"]["per_second"]
            for a, b in zip(ours, theirs) if a["conclusive"] and b["conclusive"]]


def summarise(runs, case, system):
    """The line of history for one case and system; None when nothing succeeded."""
    many = runs.get((case.name, system.name), [])
    good = [one["result"] for one in many if one["conclusive"]]
    shown = good or [one["result"] for one in many if "result" in one]
    if not shown:
        return None
    line = {"case": case.name, "system": system.name, "label": system.label,
            "version": shown[0].get("version", ""), "rounds": len(many),
            "conclusive": len(good), "failed": sum("error" in one for one in many)}
    for field in FIELDS:
        value = median([r.get(field) for r in shown])
        if value is not None:
            line[field] = round(value, 4)
    rates = [r["per_second"] for r in shown]
    line["spread"] = [round(min(rates), 1), round(max(rates), 1)]
    for other in ("floor", "redis", "libraft", "etcd"):
        found = ratios(many, runs.get((case.name, other), []))
        if found and other != system.name:
            line[f"to_{other}"] = [round(x, 3) for x in (median(found), min(found), max(found))]
    return line


def verdict(line, target):
    words, what, limit = target
    if what in FIELDS:
        value = line.get(what)
        met = value is not None and value <= limit
        told = "?" if value is None else f"{value:.3g}"
    else:
        value = line.get(f"to_{what}", [None])[0]
        met = value is not None and value >= limit
        told = "?" if value is None else f"{value:.2f} x"
    if value is None or not line["conclusive"]:
        return f"{words}: {told}, not known"
    return f"{words}: {told}, {'met' if met else 'MISSED'}"


def number(value, digits=1):
    if value is None:
        return "-"
    for limit, unit in ((1e6, " M"), (1e4, " k")):
        if value >= limit:
            return f"{value / (limit if limit == 1e6 else 1e3):.{digits}f}{unit}"
    return f"{value:.0f}" if value >= 100 else f"{value:.{digits}f}"


def print_table(lines, cases):
    for case in cases:
        print(f"\n{case.name}, {case.value} bytes, {case.nodes} nodes (Redis: one)")
        print(f"  {'':22}{'per s':>9}{'spread':>19}{'p50 us':>9}{'p99 us':>9}{'p99.9':>9}"
              f"{'cpu us':>8}{'switches':>9}{'flushes':>8}{'/floor':>8}")
        for line in (x for x in lines if x["case"] == case.name):
            star = "" if line["conclusive"] * 2 > line["rounds"] else "?"
            spread = "..".join(number(x) for x in line["spread"])
            floor = line.get("to_floor", [None])[0]
            print(f"  {line['label'] + star:22}{number(line['per_second']):>9}{spread:>19}"
                  f"{number(line.get('p50_us')):>9}{number(line.get('p99_us')):>9}"
                  f"{number(line.get('p999_us')):>9}"
                  f"{number(line.get('cpu_us_per_operation')):>8}"
                  f"{number(line.get('context_switches_per_operation'), 2):>9}"
                  f"{number(line.get('device_flushes_per_operation'), 2):>8}"
                  f"{'-' if floor is None else f'{floor:.2f}':>8}")
        for line in (x for x in lines if x["case"] == case.name and x["system"] == "kelp"):
            print("  target  " + "\n          ".join(verdict(line, t) for t in case.targets))
    if any(x["conclusive"] * 2 <= x["rounds"] for x in lines):
        print("\n? most runs were in slow moments; the figures are shown and prove nothing")


# ---- the program --------------------------------------------------------------------------------


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="one short round, two minutes")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of counting, a run")
    parser.add_argument("--only", default="", help="cases and systems whose name contains this")
    parser.add_argument("--dir", default="build/bench-data", help="on the disk to be measured")
    parser.add_argument("--history", default="bench/history.jsonl", help='"" writes none')
    parser.add_argument("--list", action="store_true", help="cases, systems, what is missing")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 3)
    options.warm_up = 0.3 if options.quick else 1
    if options.rounds < 1 or not 0.1 <= options.seconds <= 3600:
        parser.error("--rounds must be at least 1, --seconds 0.1 to 3600")
    return options


def chosen(options):
    used, everything = [], systems.all_systems()
    for system in everything:
        why = system.missing()
        if why:
            print(f"skipped: {system.label}: {why}", file=sys.stderr)
        else:
            used.append(system)
    cases = [c for c in CASES if options.only in c.name]
    if not cases:  # a system then
        used = [s for s in used if options.only in s.name]
        cases = [c for c in CASES if any(c.takes(s) for s in used)]
    return used, cases


def main():
    options = arguments()
    used, cases = chosen(options)
    if options.list or not cases:
        for case in cases:
            print(f"{case.name}: {', '.join(s.label for s in used if case.takes(s))}")
        return 0 if cases else 2
    os.makedirs(options.dir, exist_ok=True)
    base = os.path.abspath(options.dir)
    runs = run_all(used, cases, base, options)
    judge_moments(runs)
    lines = [line for case in cases for system in filter(case.takes, used)
             if (line := summarise(runs, case, system)) is not None]
    head = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "commit": measure.commit("."), "machine": measure.machine(base),
            "quick": options.quick, "seconds": options.seconds}
    if options.history:
        with open(options.history, "a", encoding="utf-8") as f:
            f.writelines(json.dumps({**head, **line}) + "\n" for line in lines)
    print(f"{head['commit']}  {head['date']}  {head['machine']['cores']} x {head['machine']['cpu']}"
          f", {head['machine']['kernel']}, {head['machine']['fs']}")
    print_table(lines, cases)
    failed = [(key, one["error"]) for key, many in runs.items() for one in many if "error" in one]
    for (case, system), error in failed:
        print(f"failed: {case}: {system}: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
