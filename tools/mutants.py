#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mutants.py [--check] [--jobs N] [WORD...] - do the tests notice when a rule is broken?

A mutant is a small unified diff, tests/mutants/ROOM/NAME.patch, that breaks one rule. The lines in
front of its first "---" say which one, where the rule is from, and what must notice:

    A learner that hears nobody starts an election.
    source: [§4.2.1]
    caught-by: tests/scenario/elect/a_learner_does_not_stand.txt

A line "no-run:" says why no simulated run can notice it, if none can. caught-by is one of
    tests/ROOM/FILE_test.c TEST     that test fails
    tests/scenario/TOPIC/FILE.txt   that scenario fails
    sim N seeds INVARIANT           one of the seeds 1..N breaks it; "assertion": a node stops
    timeout                         the suite never ends; the only mutant that may do that

Each is applied to a copy of the tree in build-mutants/, what it needs is built again, and what
caught-by names is run. If that passes, everything else runs: scenarios, ten seeds, unit tests,
then seeds up to 1000. A mutant that survives all of it is a missing test. Those in
tests/mutants/equivalent/ change how and not what: they have no caught-by, and everything must pass.

Words choose the mutants whose names contain one; --check only looks whether each can be applied
and says what it must. The last line is "N passed, N failed".
"""
import argparse
import concurrent.futures
import fcntl
import filecmp
import glob
import os
import queue
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PLACE = os.path.join(ROOT, "build-mutants")
SEEDS = (10, 100, 1000)  # of the whole suite, in steps
LIMIT = 420.0  # seconds a mutant may take, builds included
MEMORY = 8 << 30  # bytes of addresses: a mutant may allocate without end
# A copy lies inside the repository; git must take it for a plain folder.
ENVIRONMENT = {**os.environ, "GIT_CEILING_DIRECTORIES": f"{PLACE}:{os.path.dirname(ROOT)}"}
SEED = re.compile(r"^seed (\d+) .* FAIL (\S+)", re.M)
ASSERTION = re.compile(r"assertion failed: (.*)")


class Wrong(Exception):
    """A patch, the tree or a build is not what it must be; the words are for people."""


class Timeout(Exception):
    """A mutant used up its time."""


class Mutant:
    def __init__(self, path):
        self.path = path
        self.name = os.path.relpath(path, os.path.join(ROOT, "tests/mutants"))[:-len(".patch")]
        self.equivalent = self.name.startswith("equivalent/")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.head = text[:text.find("\n--- ") + 1].splitlines()
        self.files = re.findall(r"^\+\+\+ b/(\S+)", text, re.M)
        self.caught_by = self.field("caught-by:")

    def field(self, name):
        return next((line[len(name):].strip() for line in self.head if line.startswith(name)), "")

    def catcher(self):
        """What caught-by names: (kind, file or number of seeds, what fails there)."""
        test = re.fullmatch(r"(tests/\w+/\w+_test\.c) (\w+)", self.caught_by)
        if test is not None:
            return "test", test[1], test[2]
        if re.fullmatch(r"tests/scenario/\S+\.txt", self.caught_by):
            return "scenario", self.caught_by, ""
        seeds = re.fullmatch(r"sim (\d+) seeds (\S+)", self.caught_by)
        if seeds is not None:
            return "sim", int(seeds[1]), seeds[2]
        if self.caught_by == "timeout":
            return "timeout", "", ""
        raise Wrong(f'"caught-by: {self.caught_by}" is none of the four forms')

    def check(self):
        """Does it say what it must, and can it be planted?"""
        if not self.head or re.match("source:|caught-by:|diff ", self.head[0]):
            raise Wrong("its first line does not say which rule it breaks")
        if not self.files:
            raise Wrong("it changes nothing")
        if self.equivalent != (self.caught_by == ""):
            raise Wrong("caught-by: is what a mutant must have and a harmless change must not")
        if not self.equivalent:
            if not self.field("source:"):
                raise Wrong("source: is missing")
            kind, where, what = self.catcher()
            if kind in ("test", "scenario"):
                try:
                    with open(os.path.join(ROOT, where), encoding="utf-8") as file:
                        known = re.search(rf"\b{what}\b", file.read())
                except FileNotFoundError:
                    raise Wrong(f"{where} does not exist") from None
                if not known:
                    raise Wrong(f"{where} has no test {what}")
        self.apply(ROOT, "--check")

    def apply(self, root, *options):
        done = subprocess.run(["git", "apply", *options, self.path], cwd=root, env=ENVIRONMENT,
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Wrong("it does not apply, the code has moved on:\n" + done.stderr.strip())


STOP = threading.Event()  # everything ends early: nobody starts another program
RUNNING = set()


def kill(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)  # its own group: start_new_session
    except ProcessLookupError:
        pass


def stop_all(*_):
    STOP.set()
    for process in list(RUNNING):
        kill(process)


def run(command, cwd, until, enough=None):
    """Status and output; killed at a line that matches `enough`, and with Timeout at `until`."""
    if STOP.is_set():
        raise Wrong("interrupted")
    with subprocess.Popen(command, cwd=cwd, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", start_new_session=True) as process:
        RUNNING.add(process)
        timer = threading.Timer(max(0.0, until - time.monotonic()), kill, (process,))
        timer.start()
        output = []
        try:
            for line in process.stdout:
                output.append(line)
                if enough is not None and enough.search(line):
                    kill(process)
            status = process.wait()
            kill(process)  # what it left behind
        finally:
            timer.cancel()
            RUNNING.discard(process)
    if STOP.is_set():
        raise Wrong("interrupted")
    if time.monotonic() >= until:
        raise Timeout
    return status, "".join(output)


class Copy:
    """One copy of the tree with its own build folder; one mutant at a time."""

    def __init__(self, number, compilers):
        self.root = os.path.join(PLACE, str(number))
        self.compilers = compilers
        self.before = {}

    def sync(self):
        """Make it equal to the tree, touching only what differs, so that builds stay small."""
        listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT,
                                capture_output=True, check=True).stdout.decode().split("\0")
        files = {name for name in listed if name and os.path.isfile(os.path.join(ROOT, name))}
        for path in glob.iglob(os.path.join(self.root, "*", "**"), recursive=True):
            name = os.path.relpath(path, self.root)
            if os.path.isfile(path) and name not in files and not name.startswith("build/"):
                os.remove(path)
        for name in files:
            source, target = os.path.join(ROOT, name), os.path.join(self.root, name)
            if os.path.exists(target) and filecmp.cmp(source, target, shallow=False):
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(source, target)

    def build(self, until, *targets):
        commands = [["cmake", "--build", "build", "--target", *targets, "--", "--quiet", "-j",
                     str(self.compilers)]]
        if not os.path.exists(os.path.join(self.root, "build/build.ninja")):
            commands.insert(0, ["cmake", "--preset", "release"])
        for command in commands:
            status, output = run(command, self.root, until)
            if status != 0:
                raise Wrong("it does not build:\n" + output[-4000:])

    def apply(self, mutant):
        for name in mutant.files:
            with open(os.path.join(self.root, name), "rb") as file:
                self.before[name] = file.read()
        mutant.apply(self.root)

    def restore(self):
        for name, content in self.before.items():
            with open(os.path.join(self.root, name), "wb") as file:
                file.write(content)
        self.before = {}

    # What follows says what failed; "": nothing did.

    def test(self, path, wanted, until):
        target = re.sub(r"^tests/(\w+)/(\w+)\.c$", r"\1_\2", path)
        self.build(until, target)
        status, output = run([f"build/unit/{target}"], self.root, until)
        if status == 0:
            return ""
        failed = tests_failed(output) or [reason(output, status)]
        return f"{path} {wanted if wanted in failed else failed[0]}"

    def scenarios(self, word, until):
        self.build(until, "kelp")
        status, output = run(["tools/scenario.sh", "build/kelp", word], self.root, until)
        failed = re.search(r"^--- (\S+)", output, re.M)
        if status == 0:
            return ""
        return failed[1] if failed is not None else reason(output, status)

    def seeds(self, first, last, until):
        self.build(until, "kelp")
        status, output = run(["build/kelp", "sim", "run", "--seed", str(first), "--seeds",
                              str(last - first + 1), "--jobs", "1"], self.root, until, SEED)
        seed = SEED.search(output)
        if status == 0:
            return ""
        what = f"{seed[2]} (seed {seed[1]})" if seed is not None else reason(output, status)
        return f"sim {last} seeds {what}"

    def named(self, catcher, until):
        kind, where, what = catcher
        if kind == "test":
            return self.test(where, what, until)
        if kind == "scenario":
            return self.scenarios(where, until)
        return self.seeds(1, where, until) if kind == "sim" else ""

    def unit(self, until):
        self.build(until, "products", "tests")
        status, output = run(["ctest", "--test-dir", "build", "-L", "unit|fuzz", "--no-tests=error",
                              "--stop-on-failure", "--output-on-failure"], self.root, until)
        if status == 0:
            return ""
        program = re.search(r"Test +#\d+: (\S+) .*(?:Failed|Exception|Timeout)", output)
        failed = tests_failed(output) or [reason(output, status)]
        return f"tests/{program[1]}_test.c {failed[0]}" if program is not None else failed[0]

    def suite(self, until):
        """Everything, the quickest first."""
        yield self.scenarios("", until)
        yield self.seeds(1, SEEDS[0], until)
        yield self.unit(until)
        for before, last in zip(SEEDS, SEEDS[1:]):
            yield self.seeds(before + 1, last, until)


def tests_failed(output):
    """The last one that began ended with the program if nothing more is said about it."""
    begun = re.findall(r"^\[ RUN      \] (\w+)$", output, re.M)
    ended = re.findall(r"^\[ +(?:OK|FAILED) +\] (\w+)$", output, re.M)
    return re.findall(r"^\[  FAILED  \] (\w+)$", output, re.M) + \
        [name for name in begun if name not in ended]


def reason(output, status):
    assertion = ASSERTION.search(output)
    if assertion is not None:
        return "assertion " + assertion[1][:60].strip()
    return f"signal {-status}" if status < 0 else f"status {status}"


def judge(copy, mutant):
    """(passed, what is said about it)"""
    until = time.monotonic() + LIMIT
    try:
        copy.apply(mutant)
        if mutant.equivalent:
            caught = next(filter(None, copy.suite(until)), "")
            return not caught, "HARMLESS, but " + caught if caught else "nothing, as it must be"
        caught = copy.named(mutant.catcher(), until)
        if caught:
            known = caught.startswith(mutant.caught_by)
            return True, caught if known else f"{caught} (named: {mutant.caught_by})"
        caught = next(filter(None, copy.suite(until)), "")
        if caught:
            return True, f"{caught} ({mutant.caught_by} passes)"
        return False, "SURVIVED: a test is missing"
    except Timeout:
        return mutant.caught_by == "timeout", "timeout"
    except Wrong as wrong:
        return False, f"WRONG: {wrong}"
    finally:
        copy.restore()


def clean(copy, mutants):
    """A catcher that fails on the tree as it is would catch everything."""
    until = time.monotonic() + 4 * LIMIT
    copy.sync()
    copy.build(until, "kelp")
    named = {mutant.catcher()[:2] for mutant in mutants if not mutant.equivalent}
    most = max((where for kind, where in named if kind == "sim"), default=0)
    for kind, where in sorted(named, key=str):
        caught = "" if kind == "sim" and where < most else copy.named((kind, where, ""), until)
        if caught:
            raise Wrong(f"without any mutant fails {caught}")


def work(copy, waiting):
    results = []
    while not STOP.is_set():
        try:
            mutant = waiting.get_nowait()
        except queue.Empty:
            break
        begin = time.monotonic()
        passed, words = judge(copy, mutant)
        if STOP.is_set():
            break
        results.append((mutant.name, passed, words, time.monotonic() - begin))
        print(f"{mutant.name}: {words}", file=sys.stderr, flush=True)
    return results


def hunt(mutants, jobs):
    jobs = max(1, min(jobs, len(mutants)))
    compilers = max(1, (os.cpu_count() or 1) // jobs)
    copies = [Copy(number + 1, compilers) for number in range(jobs)]
    waiting = queue.Queue()
    # The harmless ones take longest; begun first, they do not leave one copy working alone.
    for mutant in sorted(mutants, key=lambda m: (not m.equivalent, m.name)):
        waiting.put(mutant)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda i: clean(copies[i], mutants[i::jobs]), range(jobs)))
        return sorted(sum(pool.map(lambda copy: work(copy, waiting), copies), []))


def table(results):
    width = max((len(name) for name, *_ in results), default=6)
    print(f"{'mutant':<{width}}  seconds  caught by")
    for name, _, words, seconds in results:
        print(f"{name:<{width}}  {seconds:7.1f}  {words}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only: can all be applied?")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="copies at once (2)")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only those with it in the name")
    options = parser.parse_args()
    paths = sorted(glob.glob(os.path.join(ROOT, "tests/mutants/*/*.patch")))
    mutants = [m for m in map(Mutant, paths)
               if not options.words or any(word in m.name for word in options.words)]
    if not mutants:
        sys.exit("no mutant is called that")
    failed = 0
    for mutant in mutants:
        try:
            mutant.check()
        except Wrong as wrong:
            failed += 1
            print(f"{mutant.name}: {wrong}")
    if failed == 0 and not options.check:
        os.makedirs(PLACE, exist_ok=True)
        lock = open(os.path.join(PLACE, "lock"), "w", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("another run has build-mutants/")
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        if hard == resource.RLIM_INFINITY or hard > MEMORY:  # of all that is started here
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
        signal.signal(signal.SIGTERM, stop_all)
        signal.signal(signal.SIGINT, stop_all)
        try:
            results = hunt(mutants, options.jobs)
        except Wrong as wrong:
            sys.exit(str(wrong))
        except Timeout:
            sys.exit("the tree without any mutant takes too long")
        table(results)
        failed = len(mutants) - sum(row[1] for row in results)
    passed = len(mutants) - failed
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
