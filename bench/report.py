# SPDX-License-Identifier: Apache-2.0
"""From runs to lines: which moments count, medians and ratios, the history and the table.

runs holds by (case name, system name) one dictionary a round: the probe before it, and "result" or
"error"; judge_moments() adds "conclusive".
"""
import statistics

SLOW = 2.0  # times the best probe of this run
BUSY = 0.25  # of all processors, by others
FIELDS = ("per_second", "p50_us", "p90_us", "p99_us", "p999_us", "max_us", "cpu_us_per_operation",
          "context_switches_per_operation", "device_flushes_per_operation")
OTHERS = ("floor", "redis", "libraft", "etcd", "writers")


def judge_moments(runs):
    """A run is inconclusive when the probe before it was slow or the machine was busy."""
    best = min(one["probe"]["sync_us"] for many in runs.values() for one in many)
    for many in runs.values():
        for one in many:
            slow = one["probe"]["sync_us"] > SLOW * best or one["probe"]["busy"] > BUSY
            one["conclusive"] = "result" in one and not slow


def disk(runs):
    """The probes of a run in two numbers, for the history."""
    syncs = [one["probe"]["sync_us"] for many in runs.values() for one in many]
    return {"sync_us_best": round(min(syncs), 1), "sync_us_median": round(median(syncs), 1)}


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def ratios(ours, theirs, field):
    """Of the same rounds, where both are conclusive."""
    return [a["result"][field] / b["result"][field] for a, b in zip(ours, theirs)
            if a["conclusive"] and b["conclusive"] and b["result"].get(field)]


def spread_of(values):
    return [round(min(values), 4), round(max(values), 4)]


def rounds_of(many, case, system):
    """What every line says, and the results it is made of; None when nothing succeeded."""
    good = [one["result"] for one in many if one["conclusive"]]
    shown = good or [one["result"] for one in many if "result" in one]
    if not shown:
        return None, ()
    label = getattr(case, "label", None) or system.label
    version = shown[0].get("version") or getattr(system, "version", "")
    return {"case": case.name, "group": case.word, "system": system.name, "label": label,
            "version": version, "nodes": case.nodes, "rounds": len(many),
            "conclusive": len(good), "failed": sum("error" in one for one in many)}, shown


def throughput_line(runs, case, line, shown):
    line["value"] = case.value
    for field in FIELDS:
        value = median([r.get(field) for r in shown])
        if value is not None:
            line[field] = round(value, 4)
    line["spread"] = spread_of([r["per_second"] for r in shown])
    many = runs[case.name, line["system"]]
    for other in OTHERS:
        found = ratios(many, runs.get((case.name, other), []), "per_second")
        if found and other != line["system"]:
            line[f"to_{other}"] = [round(x, 3) for x in (median(found), min(found), max(found))]


def special_line(case, line, shown):
    """Medians of all that was measured. A list is samples, all rounds' together: their median, the
    worst, how many."""
    line["figure"] = figure = case.columns[0][0]
    if isinstance(shown[0][figure], list):
        samples = [v for r in shown for v in r[figure]]
        name, _, unit = figure.rpartition("_")
        line[figure] = round(median(samples), 4)
        line[f"{name}_worst_{unit}"], line["kills"] = round(max(samples), 4), len(samples)
    else:
        samples = [r[figure] for r in shown]
    line["spread"] = spread_of(samples)
    for field in {name: None for r in shown for name in r}:
        values = [r[field] for r in shown if isinstance(r.get(field), (int, float))]
        if values and field not in line and field != "verified":
            line[field] = round(median(values), 4)


def gaps_beside(lines):
    """Kelp's gaps beside etcd's: of the medians, and of the worst."""
    for line in lines:
        other = next((x for x in lines
                      if x["case"] == line["case"] and x["system"] == "etcd"), None)
        if line["system"] != "etcd" and other and line["conclusive"] and other["conclusive"] \
           and "gap_ms" in line:
            line["gap_to_etcd"] = round(line["gap_ms"] / other["gap_ms"], 3)
            line["gap_worst_to_etcd"] = round(line["gap_worst_ms"] / other["gap_worst_ms"], 3)


def rest_beside(lines):
    """What a node costs at rest beside bare heartbeats."""
    both = {x["system"]: x for x in lines if "idle_cpu_percent" in x and x["conclusive"]}
    if "kelp" in both and "floor" in both:
        both["kelp"]["rest_to_floor"] = round(both["kelp"]["idle_cpu_percent"]
                                              / both["floor"]["idle_cpu_percent"], 3)


def summarise(runs, cases, used):
    """The lines of history, a case and system each; what never succeeded has none."""
    lines = []
    for case in cases:
        for system in used:
            many = runs.get((case.name, system.name))
            if not many or not case.takes(system):
                continue
            line, shown = rounds_of(many, case, system)
            if line is None:
                continue
            if case.special:
                special_line(case, line, shown)
            else:
                throughput_line(runs, case, line, shown)
            lines.append(line)
    gaps_beside(lines)
    rest_beside(lines)
    return lines


# ---- the table ----------------------------------------------------------------------------------


def number(value, digits=1):
    if value is None:
        return "-"
    for limit, unit in ((1e6, " M"), (1e4, " k")):
        if value >= limit:
            return f"{value / (limit if limit == 1e6 else 1e3):.{digits}f}{unit}"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.{max(digits, 2)}f}"


def short(value, digits=1):
    """As number(), but one digit is enough."""
    return number(value, digits) if value is None or value >= 100 else f"{value:.{digits}f}"


def verdict(line, target):
    value, met = target.judge(line)
    told = "?" if value is None else f"{value:.3g}"
    return f"{target.words}: {told}, " + {True: "met", False: "MISSED", None: "not known"}[met]


def unsure(line):
    return "" if line["conclusive"] * 2 > line["rounds"] else "?"


def throughput_head(words):
    print(f"  {words:28}{'per s':>9}{'spread':>19}{'p50 us':>9}{'p99 us':>9}{'p99.9':>9}"
          f"{'cpu us':>8}{'switches':>9}{'flushes':>8}{'/floor':>8}")


def throughput_row(line, name):
    floor = line.get("to_floor", [None])[0]
    print(f"  {name + unsure(line):28}{number(line['per_second']):>9}"
          f"{'..'.join(number(x) for x in line['spread']):>19}"
          f"{short(line.get('p50_us')):>9}{short(line.get('p99_us')):>9}"
          f"{short(line.get('p999_us')):>9}{short(line.get('cpu_us_per_operation')):>8}"
          f"{short(line.get('context_switches_per_operation'), 2):>9}"
          f"{short(line.get('device_flushes_per_operation'), 2):>8}"
          f"{'-' if floor is None else f'{floor:.2f}':>8}")


def special_rows(case, lines):
    print(f"\n{case.name}")
    print(f"  {'':22}" + "".join(f"{heading:>12}" for _, heading in case.columns)
          + f"{'spread':>19}")
    for line in lines:
        print(f"  {line['label'] + unsure(line):22}"
              + "".join(f"{number(line.get(field)):>12}" for field, _ in case.columns)
              + f"{'..'.join(number(x) for x in line['spread']):>19}")


def targets(case, lines):
    for line in (x for x in lines if x["system"] == "kelp" and case.targets):
        print("  target  " + "\n          ".join(verdict(line, t) for t in case.targets))


def print_table(lines, cases):
    group = None
    for case in cases:
        own = [line for line in lines if line["case"] == case.name]
        if not own:
            continue
        if case.special:
            special_rows(case, own)
            group = None
        elif case.word:  # a sweep: a line a case and system under one head
            if group != case.word:
                print(f"\n{case.word}; SET, 64 clients, 256 bytes, 3 nodes unless said")
                throughput_head("")
            group = case.word
            for line in own:
                throughput_row(line, f"{case.name}, {line['system']}")
        else:
            print(f"\n{case.name}, {case.value} bytes, {case.nodes} nodes (Redis: one)")
            throughput_head("")
            for line in own:
                throughput_row(line, line["label"])
        targets(case, own)
    if any(unsure(x) for x in lines):
        print("\n? most runs were in slow moments; the figures are shown and prove nothing")
