#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""quotes.py [--rewrite] BUILD FILE.md... - what the documents quote is what the programs print.

A fenced block that begins with "$ " and runs the simulator (`kelp sim`, an example) is a quote:
the command is run from the root of the tree, with the programs of the folder BUILD in place of
build/, and must print what stands below it. A line "..." stands for lines left out, "..." inside
a line for characters left out. A block of C that begins with "/* from PATH */" must stand in that
file as it is. --rewrite writes quotes of output anew in which nothing is left out; the others, and
what their text says, are for a person to correct.

Prints each quote that is not true, and "N quotes, N wrong" at the end."""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```[a-z]*\n\$ (?P<command>.*)\n(?P<said>(?:(?!```).*\n)*)```$", re.MULTILINE)
CODE = re.compile(r"^```c\n/\* from (?P<path>\S+) \*/\n(?P<code>(?:(?!```).*\n)*)```$",
                  re.MULTILINE)
RUNS = re.compile(r"\bbuild/(?:kelp sim|example_)")


def printed(command, build):
    """Both streams of the command, run by a shell."""
    words = re.sub(r"\bbuild/", lambda _: f"{build}/", command)
    run = subprocess.run(["bash", "-c", words], cwd=ROOT, stdin=subprocess.DEVNULL, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
    return run.stdout.replace(f"{build}/", "build/").splitlines()


def line_is(quoted, line):
    parts = (re.escape(part) for part in quoted.split("..."))
    return re.fullmatch(".*".join(parts), line) is not None


def pieces(quoted):
    """The runs of lines between the ones left out."""
    runs = [[]]
    for line in quoted:
        if line.strip() == "...":
            runs.append([])
        else:
            runs[-1].append(line)
    return runs


def found(piece, lines, begin, last):
    """Where the piece ends at or behind begin (last: at the very end), or None."""
    for at in range(begin, len(lines) - len(piece) + 1):
        if last and at + len(piece) != len(lines):
            continue
        if all(line_is(quoted, lines[at + i]) for i, quoted in enumerate(piece)):
            return at + len(piece)
    return None


def missing(quoted, lines):
    """The first piece that the lines do not hold in its place, or None."""
    runs, at = pieces(quoted), 0
    for i, piece in enumerate(runs):
        last = i == len(runs) - 1
        window = lines[:len(piece)] if i == 0 and not last else lines
        end = found(piece, window, at, last and piece != [])
        if end is None or (last and i == 0 and at + len(piece) != len(lines)):
            return piece
        at = end
    return None


def nearest(piece, lines):
    """As many lines as the piece has, from the place that has most in common with it."""
    def common(at):
        return sum(line_is(quoted, line) for quoted, line in zip(piece, lines[at:]))
    at = max(range(len(lines)), key=common, default=0)
    return lines[at:at + len(piece)]


def check(path, build, rewrite):
    """How many quotes a file has and how many are wrong."""
    text = path.read_text(encoding="utf-8")
    quotes = wrong = 0
    for block in list(BLOCK.finditer(text)):
        if RUNS.search(block["command"]) is None:
            continue
        quotes += 1
        quoted, lines = block["said"].splitlines(), printed(block["command"], build)
        piece = missing(quoted, lines)
        if piece is None:
            continue
        if rewrite and "..." not in block["said"]:
            new = block[0].replace(block["said"], "\n".join(lines) + "\n")
            text = text.replace(block[0], new)
            continue
        wrong += 1
        line = text.count("\n", 0, block.start()) + 1
        print(f"{path}:{line}: $ {block['command']}")
        print("\n".join(f"-{quoted}" for quoted in piece))
        print("\n".join(f"+{printed_line}" for printed_line in nearest(piece, lines)))
    for block in CODE.finditer(text):
        quotes += 1
        if block["code"] not in (ROOT / block["path"]).read_text(encoding="utf-8"):
            wrong += 1
            print(f"{path}: {block['path']} does not hold this:\n{block['code']}")
    if rewrite:
        path.write_text(text, encoding="utf-8")
    return quotes, wrong


def main(words):
    rewrite = "--rewrite" in words
    words = [word for word in words if word != "--rewrite"]
    if len(words) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    counts = [check(Path(word), words[0], rewrite) for word in words[1:]]
    quotes, wrong = (sum(count) for count in zip(*counts))
    if wrong > 0 and "--rewrite" not in sys.argv:
        print("tools/quotes.py --rewrite build FILE.md corrects those that leave nothing out")
    print(f"{quotes} quotes, {wrong} wrong")
    return 0 if wrong == 0 and quotes > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
