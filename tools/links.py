#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""links.py FILE.md... - do the links of the documents lead somewhere?

A link without a scheme must lead to a file or a folder, seen from its document, and behind a "#"
to a heading there. Names in backquotes right behind a link to a source, with commas between them,
must stand in it, and be tests if it holds tests (X_test.c, test_X.py). In a table whose last
column is called "ours", the last cell of every row holds a link, or says "none: " or "waits: " and
why.

Prints each that does not, and "N links, N wrong" at the end."""
import re
import sys
from pathlib import Path

FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]\[]*\]\((?P<target>[^()\s]+)\)"
                  r"(?P<names>(?: `\w+`(?:,(?= `\w+`))?)*)")
TEST = re.compile(r"(?:_test\.c|/test_\w+\.py)$")
SOURCE = re.compile(r"\.(?:c|h|py|sh)$")
EXCUSE = re.compile(r"(?:none|waits): \S")


def blank(match):
    """As many lines, with nothing in them."""
    return "\n" * match[0].count("\n")


def slugs(path):
    """What the headings of a document are called behind a #."""
    text = FENCE.sub(blank, path.read_text(encoding="utf-8"))
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    heads = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head) for head in heads)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


def lacks(path, name):
    """Why a name cannot be meant in that source, or None."""
    text = path.read_text(encoding="utf-8")
    if TEST.search(str(path)):
        is_test = rf"^(?:static void {name}\(void \*\*state\)|def {name}\()"
        return None if re.search(is_test, text, re.MULTILINE) else f"has no test {name}"
    return None if re.search(rf"\b{name}\b", text) else f"does not hold {name}"


def wrong_link(document, link):
    """What is wrong with a link, or None."""
    target, _, heading = link["target"].partition("#")
    path = document if target == "" else document.parent / target
    if not path.exists():
        return f"{target} does not exist"
    if heading and path.suffix == ".md" and heading not in slugs(path):
        return f"{target} has no heading {heading}"
    for name in re.findall(r"\w+", link["names"]):
        if SOURCE.search(str(path)) and lacks(path, name):
            return f"{target} {lacks(path, name)}"
    return None


def rows_without(text):
    """(line, what is wrong) of rows that say neither where nor why not."""
    ours = False
    for number, line in enumerate(text.split("\n"), 1):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            ours = False
        elif cells[-1] == "ours":
            ours = True
        elif ours and set(line) - set("|-: ") and not EXCUSE.match(cells[-1]):
            if LINK.search(cells[-1]) is None:
                yield number, "a row without a link, and without none: or waits: and a reason"


def check(document):
    """How many links a document has and how many are wrong."""
    text = FENCE.sub(blank, document.read_text(encoding="utf-8"))
    found = list(rows_without(text))
    links = 0
    for link in LINK.finditer(text):
        if re.match(r"[a-z][a-z+.-]*:", link["target"]):
            continue
        links += 1
        why = wrong_link(document, link)
        if why is not None:
            found.append((text.count("\n", 0, link.start()) + 1, why))
    for number, why in sorted(found):
        print(f"{document}:{number}: {why}")
    return links, len(found)


def main(words):
    if not words or words[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    counts = [check(Path(word)) for word in words]
    links, wrong = (sum(count) for count in zip(*counts))
    print(f"{links} links, {wrong} wrong")
    return 0 if wrong == 0 and links > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
