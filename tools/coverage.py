#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""coverage.py JSON EXPLAINED [--draft] - every branch is taken, or somebody said why not.

JSON is gcovr's report of what ran, EXPLAINED names the branches that did not run, one a line:

    src/core/save.c save_reported: if (number == 0) return; # why nothing gets there

the file, the function, the text of the line (not its number, so that it survives edits) and the
reason. A line of code with two branches that are not taken has two such lines.

Assertions are aside: they have a branch for what never happens. An assertion is a statement that
begins with ASSERT, UNREACHABLE or CHECK_SLOW, or with rule(v, in core/check.c, whose rows are
nothing else, and the body of rule(), which is to them what assert_failed is to ASSERT.

Prints what is neither taken nor explained, explanations of branches that are taken or not there any
more, and the number of branches; exits 1 if anything was amiss. --draft prints lines for EXPLAINED
that still lack their reason."""
import json
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEAST = 99.0  # per cent, explained or not
ASSERTION = re.compile(r"\s*(?:ASSERT|UNREACHABLE|CHECK_SLOW)\(")
RULE = re.compile(r"\s*rule\(v,")
JUDGE = ("src/core/check.c", "rule")
ROW = re.compile(r"(?P<branch>\S+ \w+: .*\S) # (?P<why>\S.*)")


def assertion_lines(path, lines):
    """The numbers of the lines that belong to an assertion."""
    begins = [ASSERTION, RULE] if path == "src/core/check.c" else [ASSERTION]
    inside = set()
    depth = 0
    for number, line in enumerate(lines, 1):
        if depth == 0 and not any(pattern.match(line) for pattern in begins):
            continue
        inside.add(number)
        code = re.sub(r'"(?:\\.|[^"\\])*"', '""', line)
        depth += code.count("(") - code.count(")")
    return inside


def function_at(functions, number):
    """The name of the function that holds the line."""
    before = [entry for entry in functions if entry["lineno"] <= number]
    return max(before, key=lambda entry: entry["lineno"])["name"] if before else "file"


def branches_of(report):
    """How many branches there are, and how often each line has one that is not taken."""
    total = 0
    missing = Counter()
    for entry in report["files"]:
        path = entry["file"]
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
        aside = assertion_lines(path, lines)
        for line in entry["lines"]:
            number = line["line_number"]
            name = function_at(entry["functions"], number)
            if (path, name) == JUDGE or number in aside or line.get("gcovr/noncode"):
                continue
            counts = [branch["count"] for branch in line["branches"]]
            total += len(counts)
            never = sum(count == 0 for count in counts)
            if never > 0:
                missing[f"{path} {name}: {lines[number - 1].strip()}"] += never
    return total, missing


def explanations_of(path):
    """How often each branch is explained; stops at a line that has no reason."""
    explained = Counter()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line == "" or line.startswith("#"):
            continue
        row = ROW.fullmatch(line)
        if row is None:
            sys.exit(f"{path}:{number}: not FILE FUNCTION: LINE # REASON: {line}")
        explained[row["branch"]] += 1
    return explained


def main():
    words = [word for word in sys.argv[1:] if word != "--draft"]
    if len(words) != 2:
        sys.exit("usage: coverage.py JSON EXPLAINED [--draft]")
    total, missing = branches_of(json.loads(Path(words[0]).read_text(encoding="utf-8")))
    if total == 0:
        sys.exit(f"{words[0]}: no branches; was anything compiled for coverage?")
    explained = explanations_of(Path(words[1]))
    new, stale = missing - explained, explained - missing
    for branch in sorted(new.elements()):
        print(f"{branch} # " if "--draft" in sys.argv else f"not taken, not explained: {branch}")
    for branch in sorted(stale.elements()):
        print(f"explained, but taken or gone: {branch}")
    taken = total - missing.total()
    percent = 100.0 * taken / total
    print(f"{taken} of {total} branches taken, {percent:.2f} %; {(missing & explained).total()} of "
          f"{missing.total()} others explained")
    if percent < LEAST:
        print(f"that is less than {LEAST} %")
    return 1 if new or stale or percent < LEAST else 0


if __name__ == "__main__":
    sys.exit(main())
