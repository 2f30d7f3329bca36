#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Counts instructions and allocations of the pure parts per operation, under callgrind, and
compares them with bench/bounds.json: what no machine changes, so that a test may fail on it.

    bench/instructions.py            all cases
    bench/instructions.py WORD       those whose name contains it, without the others' bounds
    bench/instructions.py --keep DIR callgrind's files stay there, for callgrind_annotate

Exit status 0: within all bounds; 1: not, or a measurement without bound or a bound without
measurement. What is far below its bound is named, so that the bound can follow it down.
"""
import argparse
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.join(HERE, "..", "build", "bench", "bench-instructions")
BOUNDS = os.path.join(HERE, "bounds.json")
SECONDS_MAX = 300  # a case takes a few; beyond this it hangs
FAR_BELOW = 0.8  # of the bound
RARE = 0.05  # allocations an operation that nobody needs to save
LABELLED = "desc: Trigger: Client Request: "  # then what the program said: a name, operations
ALLOCATORS = {"malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign"}
# libc has a copy routine for each kind of processor; these features are in none of the counted
# ones, so that all machines use the same.
SAME_COPIES = ("glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-ERMS,-FSRM,"
               "-AVX_Fast_Unaligned_Load")
# The heap grows by 64 MiB at a time: in whichever operation it does, that one is no worse for it.
ROOMY_HEAP = "glibc.malloc.top_pad=0x4000000"
HEADING = f"{'':34}{'instructions':>13}{'worst':>8}{'bound':>8}{'allocations':>13}{'bound':>8}"


class Measured:
    """One line of the table: all parts of callgrind's file that have one name."""

    def __init__(self):
        self.operations = self.instructions = self.allocations = self.worst = 0

    def add(self, operations, instructions, allocations):
        self.operations += operations
        self.instructions += instructions
        self.allocations += allocations
        self.worst = max(self.worst, instructions / operations)

    def each(self, total):
        return total / self.operations


def parts_of(path):
    """(name, operations, instructions, allocations) of every part; functions are named once in a
    file and have numbers afterwards."""
    names, part, callee = {}, None, None
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.startswith("part:"):
                if part is not None and part[0] is not None:
                    yield part
                part = [None, 0, 0, 0]
            elif line.startswith(LABELLED):
                label, operations = line[len(LABELLED):].rsplit(" ", 1)
                part[0], part[1] = label, int(operations)
            elif line.startswith("summary:"):
                part[2] = int(line.split()[1])
            elif line.startswith(("fn=", "cfn=")):
                number, _, name = line[line.index("(") + 1:].partition(")")
                if name.strip():
                    names[number] = re.sub(r"['@].*", "", name.strip())
                if line.startswith("cfn="):
                    callee = names[number]
            elif line.startswith("calls=") and callee in ALLOCATORS:
                part[3] += int(line[len("calls="):].split()[0])
    if part is not None and part[0] is not None:
        yield part


def run(case, keep):
    """What one case measured, by name."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None,
                                     prefix="kelp-instructions-") as folder:
        files = os.path.join(folder, "files")
        os.mkdir(files)
        out = os.path.join(keep or folder, f"callgrind.{case}")
        subprocess.run(["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no",
                        "--combine-dumps=yes", f"--callgrind-out-file={out}", PROGRAM, case, files],
                       check=True, timeout=SECONDS_MAX,
                       env={"PATH": os.environ["PATH"],
                            "GLIBC_TUNABLES": f"{SAME_COPIES}:{ROOMY_HEAP}"})
        found = {}
        for name, operations, instructions, allocations in parts_of(out):
            found.setdefault(name, Measured()).add(operations, instructions, allocations)
        if not found:
            raise RuntimeError(f"case {case}: callgrind counted nothing")
        return found


def judge(name, measured, bound):
    """A line of the table, and what is wrong with it."""
    instructions = measured.each(measured.instructions)
    allocations = measured.each(measured.allocations)
    wrong, remarks = [], []
    judged = measured.worst if "worst" in bound else instructions
    limit = bound.get("worst", bound.get("instructions"))
    if judged > limit:
        wrong.append(f"{name}: {judged:.0f} instructions, at most {limit}: {bound['why']}")
    elif judged < limit * FAR_BELOW:
        remarks.append(f"{name}: {judged:.0f} instructions are far below the bound {limit}; "
                       "bring it down")
    if allocations > bound["allocations"]:
        wrong.append(f"{name}: {allocations:.3f} allocations, at most {bound['allocations']}")
    elif allocations < bound["allocations"] * FAR_BELOW - RARE:
        remarks.append(f"{name}: {allocations:.3f} allocations are far below the bound "
                       f"{bound['allocations']}; bring it down")
    worst = f"{measured.worst:8.0f}" if "worst" in bound else " " * 8
    print(f"{name:34}{instructions:13.1f}{worst}{limit:8}{allocations:13.3f}"
          f"{bound['allocations']:8}{'  TOO MUCH' if wrong else ''}")
    return wrong, remarks


def same(pair, found):
    """Do two measurements agree that must not depend on what differs between them?"""
    small, large = (found[name] for name in (pair["small"], pair["large"]))
    of = (lambda m: m.worst) if pair.get("worst") else (lambda m: m.each(m.instructions))
    ratio = of(large) / of(small)
    good = ratio <= 1 + pair["margin"]
    print(f"{pair['large']}: {ratio:.4f} times {pair['small']}, at most {1 + pair['margin']}"
          f"{'' if good else '  TOO MUCH'}")
    return [] if good else [f"{pair['large']} costs {ratio:.3f} times {pair['small']}: "
                            f"{pair['why']}"]


def cases_wanted(word):
    listed = subprocess.run([PROGRAM, "--list"], check=True, capture_output=True, text=True)
    return [case for case in listed.stdout.split() if word in case]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("word", nargs="?", default="", help="cases whose name contains it")
    parser.add_argument("--keep", metavar="DIR", help="leave callgrind's files there")
    args = parser.parse_args()
    for what, there in (("valgrind", shutil.which("valgrind")), (PROGRAM, os.path.exists(PROGRAM))):
        if not there:
            sys.exit(f"{what} is not there; tools/deps.sh test installs what is needed, "
                     "and cmake --build build --target benches builds it")
    if args.keep:
        os.makedirs(args.keep, exist_ok=True)
    with open(BOUNDS, encoding="utf-8") as f:
        bounds = json.load(f)
    found = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for measured in pool.map(lambda case: run(case, args.keep), cases_wanted(args.word)):
            found.update(measured)
    wrong, remarks = [], []
    print(HEADING)
    for name, measured in found.items():
        bound = bounds["instructions"].get(name)
        if bound is None:
            wrong.append(f"{name}: {measured.each(measured.instructions):.1f} instructions, worst "
                         f"{measured.worst:.0f}, {measured.each(measured.allocations):.3f} "
                         "allocations, and no bound")
            continue
        bad, notes = judge(name, measured, bound)
        wrong += bad
        remarks += notes
    for pair in bounds["same"]:
        if pair["small"] in found and pair["large"] in found:
            wrong += same(pair, found)
        elif not args.word:
            wrong.append(f"{pair['small']} and {pair['large']} were not both measured")
    if not args.word:
        wrong += [f"{name}: a bound that nothing measures"
                  for name in bounds["instructions"] if name not in found]
    for line in remarks + wrong:
        print(line)
    return 1 if wrong or not found else 0


if __name__ == "__main__":
    sys.exit(main())
