#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""redis_oracle.py - the same bytes to redis-server and to Kelp; the same bytes must come back.

    redis_oracle.py --program PATH_OF_KV_STDIO      the machine alone, on standard input and output
    redis_oracle.py --at HOST:PORT                  a running kelp server (its keys are flushed)

Starts its own redis-server (7.0) on a free port. KEYS and SCAN, whose order nobody promises, are
compared as sets. Ends with `N compared, N failed` and exit status 0 only if nothing failed.
"""
import argparse
import itertools
import random
import socket
import subprocess
import sys
import time

NOT_HERE = b"not in this version"


class Peer:
    """One side: bytes in, whole replies out."""

    def __init__(self, read, write):
        self.read_some, self.write, self.held = read, write, b""

    def line(self):
        while b"\r\n" not in self.held:
            self.more()
        line, self.held = self.held.split(b"\r\n", 1)
        return line

    def more(self):
        data = self.read_some()
        if not data:
            raise EOFError
        self.held += data

    def reply(self):
        """The next reply: a line as it is, a bulk as ('$', bytes), an array as a list."""
        line = self.line()
        mark, rest = line[:1], line[1:]
        if mark == b"$":
            size = int(rest)
            if size < 0:
                return None
            while len(self.held) < size + 2:
                self.more()
            body, end, self.held = self.held[:size], self.held[size:size + 2], self.held[size + 2:]
            assert end == b"\r\n", end
            return ("$", body)
        if mark == b"*":
            return [self.reply() for _ in range(int(rest))] if int(rest) >= 0 else ("*", None)
        assert mark in b"+-:", line
        return line

    def ask(self, *words):
        self.write(encode(words))
        return self.reply()


def over_socket(host, port):
    s = socket.create_connection((host, port))
    s.settimeout(10)
    return Peer(lambda: s.recv(1 << 20), s.sendall), s.close


def over_program(path):
    child = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def stop():
        child.stdin.close()
        child.wait()
        if child.returncode != 0:
            sys.exit(f"{path} ended with {child.returncode}")

    return Peer(lambda: child.stdout.read(1 << 20), child.stdin.write), stop


def encode(words):
    words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


INTEGERS = ["0", "1", "-1", "+1", "01", "-0", "", " 1", "1 ", "abc", "1.5", "9223372036854775807",
            "-9223372036854775808", "9223372036854775808", "-9223372036854775809", "10\x00", "1e3",
            "99999999999999999999999"]


def fixed_cases():
    """Each case starts from an empty table."""
    yield from ([("GET", "a")], [("SET", "a", "1"), ("GET", "a"), ("get", "A")],
                [("SeT", "", ""), ("GET", "")])
    for extra in (["NX"], ["XX"], ["GET"], ["nx", "get"], ["XX", "GET"], ["GET", "GET"],
                  ["NX", "NX"], ["NX", "XX"],
                  ["bogus"], ["EX"], ["KEEPTTL", "EX", "1"], ["PX"], ["NX", "GET", "XX"], [""],
                  ["ex", "1", "px", "2"]):
        yield [("SET", "k", "new", *extra), ("GET", "k"), ("SET", "k", "old"),
               ("SET", "k", "new", *extra),
               ("GET", "k")]
    yield [("SETNX", "k", "1"), ("SETNX", "k", "2"), ("GET", "k")]
    yield [("MSET", "a", "1", "b", "2", "a", "3"), ("MGET", "a", "b", "c", "a"), ("MSET", "a"),
           ("MSET", "a", "1", "b"),
           ("MSETNX", "x", "1", "x", "2"), ("MSETNX", "y", "1", "a", "2"), ("MGET", "x", "y", "a"),
           ("MSETNX", "a", "1", "b"),
           ("DBSIZE",)]
    yield [("APPEND", "k", "ab"), ("APPEND", "k", ""), ("APPEND", "k", b"\x00\r\n"), ("GET", "k"),
           ("STRLEN", "k"),
           ("STRLEN", "none"), ("APPEND", "e", ""), ("EXISTS", "e"), ("APPEND", "n", "1"),
           ("APPEND", "n", "2"),
           ("INCR", "n")]
    for value in INTEGERS:
        yield [("SET", "k", value), ("INCR", "k"), ("DECR", "k"), ("DECR", "k"),
               ("INCRBY", "k", "5"),
               ("DECRBY", "k", "-5"), ("GET", "k")]
        yield [("INCRBY", "k", value), ("DECRBY", "k", value), ("SET", "k", "9223372036854775807"),
               ("INCRBY", "k", value),
               ("SET", "k", "-9223372036854775808"), ("INCRBY", "k", value),
               ("DECRBY", "k", value), ("GET", "k")]
        yield [("SCAN", value)]
        yield [("SCAN", "0", "COUNT", value)]
    yield [("INCR", "k"), ("DECR", "j"), ("MGET", "k", "j"), ("SET", "k", "x"),
           ("INCRBY", "k", "y")]
    for delete in ("DEL", "UNLINK"):
        yield [("MSET", "a", "1", "b", "2", "c", "3"), (delete, "a", "a", "x"), (delete, "b", "c"),
               (delete, "a"),
               ("DBSIZE",)]
    yield [("MSET", "a", "1", "b", "2"), ("EXISTS", "a"), ("EXISTS", "a", "a", "b", "x"),
           ("TYPE", "a"), ("TYPE", "x")]
    for words in (("FLUSHALL", "SYNC"), ("FLUSHALL", "async"), ("FLUSHALL", "now"),
                  ("FLUSHALL", "SYNC", "ASYNC"),
                  ("FLUSHALL",), ("FLUSHDB", "ASYNC"), ("FLUSHDB", "x")):
        yield [("SET", "a", "1"), words, ("DBSIZE",), ("GET", "a")]
    for words in (("SCAN", "0", "MATCH"), ("SCAN", "0", "COUNT"), ("SCAN", "0", "COUNT", "1", "x"),
                  ("SCAN", "0", "bogus", "1"),
                  ("SCAN", "+0"), ("SCAN", "-"), ("SCAN", "18446744073709551615"),
                  ("SCAN", "18446744073709551616"),
                  ("SCAN", "0", "match", "*", "count", "0"), ("SCAN", "0", "COUNT", "-5", "bogus"),
                  ("SCAN", "0", "TYPE", "string"), ("SCAN", "0", "TYPE", "STRING", "TYPE", "list"),
                  ("SCAN", "0", "TYPE", "nothing", "MATCH", "a*"), ("SCAN", "0x", "COUNT"),
                  ("SCAN", "0", "COUNT", "a", "x")):
        yield [("SET", "abc", "1"), words]
    arity = {"GET": 2, "SET": 3, "SETNX": 3, "MGET": 2, "MSET": 3, "MSETNX": 3, "APPEND": 3,
             "STRLEN": 2, "INCR": 2,
             "DECR": 2, "INCRBY": 3, "DECRBY": 3, "DEL": 2, "UNLINK": 2, "EXISTS": 2, "TYPE": 2,
             "KEYS": 2, "SCAN": 2,
             "DBSIZE": 1, "FLUSHALL": 1}
    for name in arity:
        for count in range(0, 5):
            yield [(name, *["0"] * count)]


PATTERNS = ["*", "**", "?", "??", "a*", "*a", "*a*", "a?c", "[abc]", "[^abc]", "[a-c]", "[c-a]",
            "[^a-c]*", "[a-]", "[a-",
            "[", "[^", "[^]", "[]a]", "[\\]]", "[\\", "\\", "\\*", "\\a", "a\\", "a\\?c", "*[bc]*",
            "a**c", "*?", "?*", "",
            "[a-c][a-c]", "a[b-]c", "*\\", "[a\\-c]", "***a", "a*b*c", "*a*b*c*", "[[]", "[]]",
            "]", "^", "-", "[-a]",
            "[a-c", "*[", "[a-a-c]", "\\[", "[\\^]", "[^^]"]
GLOB_KEYS = ["", "a", "b", "c", "ab", "abc", "aXc", "a*c", "a?c", "[", "]", "^", "-", "\\", "*",
             "?", "a\\", "abcabc", "aac",
             "a-c", "cab", "xaybzc", "aaa", "[a", "d", "\\*", "a[", "ba"]


def glob_cases():
    load = ("MSET", *itertools.chain(*((k, "1") for k in GLOB_KEYS)))
    yield [load, *(("KEYS", p) for p in PATTERNS), *(("SCAN", "0", "COUNT", "1000", "MATCH",
        p) for p in PATTERNS)]
    rng = random.Random(1)
    keys = sorted({"".join(rng.choice("ab-]^\\") for _ in range(rng.randint(0,
        6))) for _ in range(300)})
    patterns = ["".join(rng.choice("ab*?[]^-\\") for _ in range(rng.randint(0,
        8))) for _ in range(1500)]
    yield [("MSET", *itertools.chain(*((k, "1") for k in keys))), *(("KEYS", p) for p in patterns)]


def random_case(rng):
    key = lambda: rng.choice("abcdefgh")
    value = lambda: rng.choice(["1", "10", "x", "", "-5", "y" * rng.randint(1, 5000),
                                "9223372036854775806"])
    makers = [lambda: ("SET", key(), value()), lambda: ("SET", key(), value(), rng.choice(["NX",
        "XX", "GET"])),
              lambda: ("GET", key()), lambda: ("APPEND", key(), value()), lambda: ("INCR", key()),
              lambda: ("DECR", key()),
              lambda: ("INCRBY", key(), value()), lambda: ("DEL", key(), key()),
              lambda: ("EXISTS", key(), key()),
              lambda: ("MSET", key(), value(), key(), value()),
              lambda: ("MGET", key(), key(), key()),
              lambda: ("STRLEN", key()), lambda: ("SETNX", key(), value()),
              lambda: ("MSETNX", key(), value(), key(), value()),
              lambda: ("DBSIZE",), lambda: ("KEYS", "*"), lambda: ("SCAN", "0", "COUNT", "100"),
              lambda: ("TYPE", key())]
    case = [rng.choice(makers)() for _ in range(200)]
    return case + [("FLUSHALL",)] if rng.random() < 0.2 else case


PROTOCOL = [b"*1\r\n$4\r\nXING\r\n", b"*x\r\n", b"*\r\n", b"*01\r\n", b"*2147483648\r\n",
            b"*99999999999999999999\r\n",
            b"*1\r\n$x\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$536870913\r\n", b"*1\r\nPING\r\n",
            b"*1\r\n\r\n", b"*1\r\n\nx\r\n",
            b"GET \"a\r\n", b"GET 'a\r\n", b"GET \"a\"b\r\n", b"GET 'a'b\r\n", b"x" * 70000,
            b"*" + b"1" * 70000,
            b"*1\r\n$" + b"1" * 70000]
INLINE = [(b"DBSIZE\r\n", 1), (b"dbsize\n", 1), (b"   dbsize  \r\n", 1), (b"\r\n\r\nDBSIZE\r\n", 1),
          (b"*0\r\n*-1\r\nDBSIZE\r\n", 1), (b"SET \"a b\" 'c\\'d'\r\nGET \"a b\"\r\n", 2),
          (b"SET k \"\\x00\\xff\\n\\t\\q\"\nGET k\n", 2), (b"SET k ''\nGET k\n", 2),
          (b"SET k a\"b c\"\nGET k\n", 2), (b"SET k \\x41\nGET k\n", 2),
          (b"SET k a\x0bb\nGET k\n", 2)]


def same(words, ours, theirs):
    name = words[0].upper()
    if isinstance(ours, bytes) and NOT_HERE in ours:
        return name == "SET" and theirs in (b"+OK", None, b"-ERR syntax error",
                                            b"-ERR value is not an integer or out of range") or \
            name == "SET" and theirs[:1] == "$"
    if name == "KEYS" and isinstance(ours, list) and isinstance(theirs, list):
        return sorted(ours) == sorted(theirs)
    if name == "SCAN" and isinstance(ours, list) and isinstance(theirs, list):
        # a cursor of one side, or a part of the keys: only the shape can be compared
        if words[1] not in ("0", "+0", "",
                            "-0") or len(words) < 4 or words[2] != "COUNT" or len(words[3]) < 3:
            return len(ours) == 2 and isinstance(ours[1], list)
        return ours[0] == theirs[0] and sorted(ours[1]) == sorted(theirs[1])
    return ours == theirs


class Tally:
    def __init__(self):
        self.compared, self.failed = 0, 0

    def check(self, good, what, ours, theirs):
        self.compared += 1
        if not good:
            self.failed += 1
            for side, said in (("DIFFERS", what), ("   ours", ours), ("  redis", theirs)):
                print(side, str(said)[:200])


def run_case(case, ours, theirs, tally):
    for side in (ours, theirs):
        side.ask("FLUSHALL")
        side.write(b"".join(encode(words) for words in case))  # one pipeline
    for words in case:
        a, b = ours.reply(), theirs.reply()
        tally.check(same(words, a, b), words, a, b)


def run_protocol(connect_ours, connect_redis, tally):
    for bytes_ in PROTOCOL:
        answers = []
        for connect in (connect_ours, connect_redis):
            peer, stop = connect()
            peer.write(bytes_)
            answer = peer.reply()
            if answer.startswith(b"-ERR unknown command 'XING'"):
                answer = b"-ERR unknown command 'XING'"
            answers.append(answer)
            stop()
        tally.check(answers[0] == answers[1], bytes_[:60], *answers)
    for bytes_, count in INLINE:
        answers = []
        for connect in (connect_ours, connect_redis):
            peer, stop = connect()
            peer.ask("FLUSHALL")
            peer.write(bytes_ + b"DBSIZE\r\n")
            answers.append([peer.reply() for _ in range(count + 1)])
            stop()
        tally.check(answers[0] == answers[1], bytes_, *answers)


def scan_everything(ours, tally):
    """A whole scan while keys come and go gives every key that stayed."""
    ours.ask("FLUSHALL")
    rng = random.Random(3)
    stay = {b"stay:%d" % i for i in range(2000)}
    ours.ask("MSET", *itertools.chain(*((k, "1") for k in stay)))
    seen, cursor, step = set(), b"0", 0
    while True:
        reply = ours.ask("SCAN", cursor, "COUNT", rng.choice(["1", "10", "300"]))
        cursor = reply[0][1]
        seen |= {key for _, key in reply[1]}
        if cursor == b"0":
            break
        step += 1
        for _ in range(20):
            ours.ask(rng.choice(["SETNX", "APPEND"]), "move:%d" % rng.randrange(20000), "1")
            ours.ask("DEL", "move:%d" % rng.randrange(20000))
    tally.check(stay <= seen, "SCAN under change", len(stay & seen), len(stay))


def main():
    parser = argparse.ArgumentParser()
    side = parser.add_mutually_exclusive_group(required=True)
    side.add_argument("--program")
    side.add_argument("--at")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--appendonly",
                               "no", "--logfile", "/dev/null"])
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)

        def connect_redis():
            return over_socket("127.0.0.1", port)

        def connect_ours():
            if args.program:
                return over_program(args.program)
            host, at = args.at.rsplit(":", 1)
            return over_socket(host, int(at))

        tally = Tally()
        (ours, stop_ours), (theirs, stop_theirs) = connect_ours(), connect_redis()
        for case in itertools.chain(fixed_cases(), glob_cases()):
            run_case(case, ours, theirs, tally)
        rng = random.Random(args.seed)
        for _ in range(args.rounds):
            run_case(random_case(rng), ours, theirs, tally)
        scan_everything(ours, tally)
        stop_ours()
        stop_theirs()
        run_protocol(connect_ours, connect_redis, tally)
    finally:
        server.terminate()
        server.wait()
    print(f"{tally.compared} compared, {tally.failed} failed")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
