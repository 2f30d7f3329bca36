#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Draws bench/history.jsonl: the newest figures of every case, and how Kelp's changed.

    bench/chart.py [--history bench/history.jsonl] [--html build/bench/index.html] [--svg FILE]

The page is one file without scripts: the systems beside each other, the gaps after a leader's
death, the sweeps, and what else was measured as tables. --svg is the first two alone, README's
chart (docs/bench.svg). A bar is as long as its value: one scale a case, from zero. The whisker is
the spread of the rounds, a hollow bar was measured in slow moments and proves nothing. The newest
line of a case and system is drawn; one of a quick run only if there is no other. Exit status: 0
drawn, 1 nothing to draw, 2 wrong usage.
"""
import argparse
import html
import json
import math
import os
import sys

WIDTH, LABEL, ROW, RIGHT = 760, 190, 24, 250
KELP, FLOOR, OTHER = "#0f766e", "#94a3b8", "#c7a76b"
STYLE = ("text{font:13px system-ui,sans-serif;fill:#334155}.h{font-weight:600;font-size:14px}"
         ".s{fill:#64748b;font-size:12px}.g{stroke:#e2e8f0}")
PAGE = ("body{margin:2.5rem auto;max-width:48rem;padding:0 1rem;font:15px/1.5 system-ui,sans-serif;"
        "color:#1e293b}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}h3{font-size:1rem;"
        "margin:1.2rem 0 .3rem}p{color:#475569}svg{display:block;max-width:100%;height:auto}"
        "div{overflow-x:auto}table{border-collapse:collapse;font-size:13px}th{color:#64748b}"
        "td,th{padding:.2rem .6rem;border-bottom:1px solid #e2e8f0;text-align:right;"
        "font-weight:400}")


def read(path):
    """The lines that can be drawn; a damaged one is named and left out."""
    lines = []
    with open(path, encoding="utf-8") as f:
        for number, text in enumerate(f, 1):
            try:
                line = json.loads(text)
                if float(line[line.get("figure", "per_second")]) >= 0 and line["case"] and \
                   line["date"] and line["label"] and line["system"]:
                    lines.append(line)
            except (ValueError, KeyError, TypeError) as error:
                print(f"{path}:{number}: {type(error).__name__}: {error}", file=sys.stderr)
    return lines


def cases_of(lines):
    return list(dict.fromkeys(line["case"] for line in lines))


def newest(lines, case):
    """The last line of each system, of a whole run if there is one; the best first."""
    last = {}
    for line in sorted(lines, key=lambda line: not line.get("quick")):
        if line["case"] == case:
            last[line["label"]] = line
    return sorted(last.values(), key=lambda line: line.get("gap_ms", -line.get("per_second", 0)))


def words(value):
    if value >= 1e6:
        return f"{value / 1e6:.2f} M/s"
    return f"{value / 1e3:.1f} k/s" if value >= 1e4 else f"{value:,.0f}/s"


def span(ms):
    return f"{ms:,.0f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"


UNITS = {"per_second": words, "gap_ms": span}


def short(value):
    """Three digits, never in powers of ten."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def text(x, y, what, kind="", end=False):
    anchor = ' text-anchor="end"' if end else ""
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{anchor}{name}>{html.escape(what)}</text>'


def colour(line):
    return {"kelp": KELP, "floor": FLOOR}.get(line["system"], OTHER)


def bar(line, amount, label, x_of, y):
    """One bar: amount is the field it shows, in the units of words()."""
    x0, x1 = LABEL, x_of(line[amount])
    paint = colour(line)
    sure = line.get("conclusive", 0) * 2 > line.get("rounds", 1)
    fill = f'fill="{paint}"' if sure else f'fill="none" stroke="{paint}" stroke-dasharray="3 2"'
    out = [text(x0 - 8, y + 14, label, end=True),
           f'<rect x="{x0}" y="{y + 3}" width="{max(x1 - x0, 1):.1f}" height="15" rx="3" {fill}/>']
    low, high = (x_of(max(v, 1)) for v in line.get("spread", [line[amount]] * 2))
    out.append(f'<path d="M{low:.1f} {y + 10.5}H{high:.1f}" stroke="#1e293b" stroke-width="1.5"/>')
    facts = [UNITS[amount](line[amount])]
    if amount == "gap_ms":
        facts.append(f"worst of {line.get('kills', 0)}: {UNITS[amount](line['gap_worst_ms'])}")
    if amount == "per_second" and "p99_us" in line:
        facts.append(f"p99 {short(line['p99_us'] / 1e3)} ms")
    if amount == "per_second" and "cpu_us_per_operation" in line:
        facts.append(f"{short(line['cpu_us_per_operation'])} us cpu")
    out.append(text(max(x1, high) + 8, y + 14, " · ".join(facts), "s"))
    return "".join(out)


def scale_from_zero(high):
    """Where a value lies between 0 and 1, and which values are marked."""
    power = 10 ** math.floor(math.log10(max(high, 1)))
    step = next(s for s in (power / 5, power / 2, power, 2 * power, 5 * power) if high < 5 * s)
    return (lambda value: value / max(high, 1),
            [step * i for i in range(1, math.floor(high / step) + 1)])


def bars(title, rows, amount, top):
    """A block of (label, line): its height and its drawing."""
    high = max(max(r[amount], r.get("spread", [0, 0])[1]) for _, r in rows)
    share, marks = scale_from_zero(high)

    def x_of(value):
        return LABEL + share(value) * (WIDTH - LABEL - RIGHT)
    height = 50 + ROW * len(rows) + 14
    out = [text(0, top + 18, title, "h")]
    for mark in marks:
        x = x_of(mark)
        out.append(f'<path class="g" d="M{x:.1f} {top + 44}V{top + height - 14}"/>')
        out.append(text(x, top + 40, UNITS[amount](mark), "s"))
    for i, (label, row) in enumerate(rows):
        out.append(bar(row, amount, label, x_of, top + 48 + i * ROW))
    return height, "".join(out)


def svg(body, height, title):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
            f'width="{WIDTH}" height="{height:.0f}" role="img" style="background:#fff">'
            f'<title>{html.escape(title)}</title>'
            f"<style>{STYLE}</style>{body}</svg>")


def stacked(blocks, title):
    top, out = 0, []
    for name, rows, amount in blocks:
        height, drawn = bars(name, rows, amount, top)
        out.append(drawn)
        top += height
    return svg("".join(out), top, title) if blocks else ""


def plain(lines):
    """What is compared with others: the cases that are in no group."""
    return [line for line in lines if not line.get("group") and "figure" not in line]


def draw_bars(lines):
    """The systems beside each other, and the gaps."""
    blocks = [(case, [(line["label"], line) for line in newest(lines, case)], "per_second")
              for case in cases_of(plain(lines))]
    blocks += [(case, [(line["label"], line) for line in newest(lines, case)], "gap_ms")
               for case in cases_of([x for x in lines if x.get("figure") == "gap_ms"])]
    return stacked(blocks, "Operations a second, by case and system; gaps after a leader's death")


def draw_sweeps(lines):
    """A block a group; a case's bars stand together under its name."""
    swept = [line for line in lines if line.get("group") and "figure" not in line]
    blocks = []
    for group in dict.fromkeys(line["group"] for line in swept):
        rows = []
        for case in cases_of([x for x in swept if x["group"] == group]):
            for i, line in enumerate(newest(swept, case)):
                rows.append((case if i == 0 else "", line))
        blocks.append((group, rows, "per_second"))
    return stacked(blocks, "Operations a second, by size, nodes, clients and keys")


def tables(lines):
    """All other cases: a table each, its figures as they were measured."""
    out = []
    about = ("case", "group", "system", "label", "version", "figure", "spread", "rounds", "failed",
             "conclusive", "date", "commit", "machine", "quick", "seconds", "nodes")
    for case in cases_of([x for x in lines if x.get("figure", "gap_ms") != "gap_ms"]):
        rows = newest(lines, case)
        names = [n for n in rows[0] if n not in about]
        names.sort(key=lambda n: n != rows[0]["figure"])
        head = "".join(f"<th>{html.escape(n.replace('_', ' '))}" for n in names)
        body = "".join("<tr><td>" + html.escape(line["label"]) + "".join(
            f"<td>{short(line[n]) if isinstance(line.get(n), (int, float)) else '-'}"
            for n in names) for line in rows)
        out.append(f"<h3>{html.escape(case)}</h3><div><table><tr><th>{head}{body}</table></div>")
    return "".join(out)


def draw_history(lines, case):
    """Kelp's share of the floor, one point a run of the bench; "" when there are fewer than two."""
    points = [(line["to_floor"], line["commit"]) for line in lines
              if line["case"] == case and line["system"] == "kelp" and line.get("to_floor")]
    if len(points) < 2:
        return ""
    high = max(p[0][2] for p in points)
    step = (WIDTH - LABEL - 20) / (len(points) - 1)

    def at(i, value):
        return LABEL + i * step, 70 - 50 * value / high
    path = "L".join("{:.1f} {:.1f}".format(*at(i, p[0][0])) for i, p in enumerate(points))
    dots = "".join(
        '<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"><title>{}: {:.2f}</title></circle>'.format(
            *at(i, p[0][0]), KELP, html.escape(p[1]), p[0][0]) for i, p in enumerate(points))
    body = (text(0, 40, case) + text(0, 58, f"of the floor: {points[-1][0][0]:.2f}", "s")
            + f'<path d="M{path}" fill="none" stroke="{KELP}" stroke-width="2"/>{dots}')
    return svg(body, 80, f"{case}: Kelp's share of the floor")


def page(lines):
    last = lines[-1]
    machine = last.get("machine", {})
    where = " · ".join(str(x) for x in (
        last["date"][:10], last.get("commit", "?"), f"{machine.get('cores', '?')} cores",
        machine.get("cpu", ""), machine.get("kernel", ""), machine.get("fs", "")) if x)
    past = "".join(draw_history(lines, case) for case in cases_of(plain(lines)))
    swept, rest = draw_sweeps(lines), tables(lines)
    return ('<!doctype html><meta charset="utf-8"><title>Kelp: measured</title>'
            f"<style>{PAGE}</style><h1>Kelp beside its floor and its peers</h1>"
            f"<p>{html.escape(where)}<br>Three nodes on one machine and one disk, 256-byte "
            "values, synced before they count; medians of interleaved rounds, every "
            "bar begins at zero. A whisker is the spread; a hollow bar proves nothing.</p>"
            + draw_bars(lines)
            + (f"<h2>As things grow</h2><p>SET from 64 clients, 256 bytes, three nodes, unless "
               f"said.</p>{swept}" if swept else "")
            + (f"<h2>At rest, in memory, under stress</h2>{rest}" if rest else "")
            + (f"<h2>Kelp against the floor, run by run</h2>{past}" if past else "") + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--history", default="bench/history.jsonl")
    parser.add_argument("--html", default="build/bench/index.html")
    parser.add_argument("--svg", help="the bars alone, README's chart: docs/bench.svg")
    options = parser.parse_args()
    try:
        lines = read(options.history)
    except OSError as error:
        print(f"chart.py: {error}", file=sys.stderr)
        return 1
    if not lines:
        print(f"chart.py: {options.history} holds nothing to draw", file=sys.stderr)
        return 1
    os.makedirs(os.path.dirname(os.path.abspath(options.html)), exist_ok=True)
    with open(options.html, "w", encoding="utf-8") as f:
        f.write(page(lines))
    print(options.html)
    if options.svg:
        with open(options.svg, "w", encoding="utf-8") as f:
            f.write(draw_bars(lines) + "\n")
        print(options.svg)
    return 0


if __name__ == "__main__":
    sys.exit(main())
