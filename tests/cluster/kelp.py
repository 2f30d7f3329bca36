# SPDX-License-Identifier: Apache-2.0
"""Clusters of real `kelp server` processes, and clients that count every answer.

Nothing waits for a time to pass in place of a cause: `wait_for` asks again until the condition
holds or a generous deadline has passed.
"""
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import redis

HEARTBEAT_MS = 50
ELECTION_MS = 400  # at the latest twice that
REQUEST_MS = 5000
SEGMENT_BYTES = 4 << 20
DEADLINE = 30.0  # for anything that must happen; the machine may be slow

_libc = ctypes.CDLL(None)
_given = set()


def default_program():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return os.path.join(root, "build", "kelp")


def free_ports(count):
    """Ports nobody listens on; never the same one twice in one run."""
    held, ports = [], []
    while len(ports) < count:
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", 0))
        held.append(s)
        port = s.getsockname()[1]
        if port not in _given:
            _given.add(port)
            ports.append(port)
    for s in held:
        s.close()
    return ports


def wait_for(condition, what, seconds=DEADLINE, every=0.02):
    """Returns the first true value of condition()."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(every)


def end_with_parent():
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def sanitized(program):
    """Sanitizers keep freed memory for a while, so limits of memory mean nothing there."""
    with open(program, "rb") as f:
        return b"__asan_init" in f.read()


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---- a client that shows every answer as it came ------------------------------------------------


class Error(str):
    """An error reply: "CODE words"."""

    @property
    def code(self):
        return self.split(" ", 1)[0]


class Gone(Exception):
    """The connection ended; what was written and not answered has an unknown outcome."""


def encode(*words):
    out = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(out)


class Raw:
    """One RESP connection. Status lines are str, bulk strings bytes, errors Error."""

    def __init__(self, port, timeout=REQUEST_MS / 1000 + 10):
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout=2)
        except OSError as error:
            raise Gone(f"connect: {error}") from error
        self.socket.settimeout(timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, *words):
        self.send_bytes(encode(*words))

    def send_bytes(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Gone(str(error)) from error

    def read(self):
        try:
            line = self.file.readline()
            if not line.endswith(b"\r\n"):
                raise Gone("closed")
            mark, rest = line[:1], line[1:-2]
            if mark == b"+":
                return rest.decode()
            if mark == b"-":
                return Error(rest.decode())
            if mark == b":":
                return int(rest)
            if mark == b"$":
                length = int(rest)
                if length < 0:
                    return None
                body = self.file.read(length + 2)
                if len(body) != length + 2:
                    raise Gone("closed")
                return body[:-2]
            assert mark == b"*", f"no RESP: {line!r}"
            return None if int(rest) < 0 else [self.read() for _ in range(int(rest))]
        except OSError as error:
            raise Gone(str(error) or "timed out") from error

    def call(self, *words):
        self.send(*words)
        return self.read()


# ---- nodes --------------------------------------------------------------------------------------


class Node:
    def __init__(self, cluster, number, ports):
        self.cluster, self.id = cluster, number
        self.client_port, self.peer_port, self.http_port = ports
        self.data = os.path.join(cluster.directory, f"node-{number}")
        self.log_path = os.path.join(cluster.directory, f"node-{number}.log")
        self.peer_at = None
        self.join = None
        self.id_flag = str(number)
        self.process = None
        self.paused = False

    def command(self):
        words = [self.cluster.program, "server", "--id", self.id_flag, "--data", self.data,
                 "--client", f"127.0.0.1:{self.client_port}",
                 "--peer", f"127.0.0.1:{self.peer_port}",
                 "--http", f"127.0.0.1:{self.http_port}"]
        if self.id in self.cluster.founders:
            words += ["--bootstrap", self.cluster.bootstrap()]
        if self.join:
            words += ["--join", self.join]
        if self.peer_at:
            words += ["--peer-at", self.peer_at]
        for key, value in self.cluster.settings.items():
            words += ["--set", f"{key}={value}"]
        return words

    def start(self):
        assert not self.running(), f"node {self.id} runs already"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, preexec_fn=end_with_parent)
        self.paused = False
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.paused = False

    def stop(self):
        """Ends it politely; returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=10)

    def _stands_still(self):
        """Is each of its threads stopped? One that is in the kernel goes on until it comes back,
        and until one of them has taken the signal so do all the others."""
        tasks = f"/proc/{self.process.pid}/task"
        for task in os.listdir(tasks):
            try:
                with open(f"{tasks}/{task}/stat", encoding="ascii") as file:
                    state = file.read().rsplit(")", 1)[1].split()[0]
            except FileNotFoundError:  # it ended meanwhile
                return False
            if state != "T":
                return False
        return True

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        wait_for(self._stands_still, f"node {self.id} stands still", every=0.001)
        self.paused = True

    def resume(self):
        self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def wait_exit(self, seconds=DEADLINE):
        wait_for(lambda: not self.running(), f"node {self.id} ends", seconds)
        return self.process.returncode

    def raw(self, timeout=REQUEST_MS / 1000 + 10):
        return Raw(self.client_port, timeout)

    def redis(self, **options):
        return redis.Redis("127.0.0.1", self.client_port, socket_timeout=REQUEST_MS / 1000 + 10,
                           **options)

    def status(self):
        """RAFT STATUS as a dictionary of strings; None: it does not answer now."""
        if self.paused or not self.running():
            return None
        try:
            with self.raw(timeout=2) as c:
                lines = c.call("RAFT", "STATUS")
        except Gone:
            return None
        if isinstance(lines, Error) or lines is None:
            return None
        return dict(line.split(":", 1) for line in lines.decode().splitlines() if ":" in line)

    def number(self, name):
        status = self.status()
        return int(status[name]) if status else None

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def log_tail(self):
        return "\n".join(self.log().splitlines()[-25:])

    def empty_directory(self):
        for name in os.listdir(self.data):
            path = os.path.join(self.data, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)

    def dump(self):
        """What `kelp log dump` says: (exit status, text)."""
        run = subprocess.run([self.cluster.program, "log", "dump", self.data], text=True,
                             capture_output=True, timeout=60, check=False)
        return run.returncode, run.stdout


class Cluster:
    """Nodes 1..count; the first `founders` of them (all) list each other, the rest wait to be
    added."""

    def __init__(self, program, directory, count, founders=None, **settings):
        self.founders = range(1, (count if founders is None else founders) + 1)
        self.program, self.directory = program, directory
        self.settings = {"heartbeat-ms": HEARTBEAT_MS, "election-ms": ELECTION_MS,
                         "segment-bytes": SEGMENT_BYTES}
        self.settings.update({k.replace("_", "-"): v for k, v in settings.items()})
        ports = free_ports(3 * count)
        self.nodes = {i + 1: Node(self, i + 1, ports[3 * i:3 * i + 3]) for i in range(count)}

    def bootstrap(self):
        return ",".join(f"{i}=127.0.0.1:{self.nodes[i].peer_port}" for i in self.founders)

    def start(self):
        for node in self.nodes.values():
            node.start()
        self.wait_leader()
        return self

    def end(self):
        for node in self.nodes.values():
            if node.running():
                node.kill()

    def crash_reports(self):
        found = []
        for node in self.nodes.values():
            if node.process is not None and node.process.returncode in (-signal.SIGABRT,
                                                                       -signal.SIGSEGV):
                found.append(f"node {node.id}: signal {-node.process.returncode}: "
                             + node.log_tail())
            if os.path.isdir(node.data):
                found += [os.path.join(node.data, name) for name in os.listdir(node.data)
                          if name.startswith("crash-")]
        return found

    def running(self):
        return [n for n in self.nodes.values() if n.running() and not n.paused]

    def leader(self):
        """The node that leads the highest term any running node knows; None: none does."""
        statuses = {n: n.status() for n in self.running()}
        known = {n: s for n, s in statuses.items() if s}
        if not known:
            return None
        term = max(int(s["term"]) for s in known.values())
        for node, status in known.items():
            if status["role"] == "leader" and int(status["term"]) == term:
                return node
        return None

    def wait_leader(self, other_than=None, seconds=DEADLINE):
        """A leader that a write has gone through."""
        def found():
            leader = self.leader()
            if leader is None or leader is other_than:
                return None
            try:
                with leader.raw(timeout=3) as c:
                    return leader if c.call("SET", "kelp:ready", "1") == "OK" else None
            except Gone:
                return None
        return wait_for(found, "there is a leader", seconds)

    def followers(self):
        leader = self.wait_leader()
        return [n for n in self.running() if n is not leader]

    def wait_equal(self, seconds=DEADLINE):
        """All running nodes have applied the same log to the same state; returns index, hash."""
        def equal():
            hashes = set()
            for node in self.running():
                try:
                    with node.raw(timeout=3) as c:
                        answer = c.call("RAFT", "HASH")
                except Gone:
                    return None
                if isinstance(answer, Error) or answer is None:
                    return None
                hashes.add(answer if isinstance(answer, str) else answer.decode())
            indexes = {h.split()[0] for h in hashes}
            if len(indexes) == 1:
                assert len(hashes) == 1, f"states differ at one index: {hashes}"
                return hashes.pop().split()
            return None
        return wait_for(equal, "all nodes are level", seconds)

    def kelp(self, *words, at=None, timeout=60):
        """Runs a verb of the command line."""
        env = dict(os.environ, KELP_AT=at or ",".join(
            f"127.0.0.1:{n.client_port}" for n in self.nodes.values()))
        return subprocess.run([self.program, *words], text=True, capture_output=True, env=env,
                              timeout=timeout, stdin=subprocess.DEVNULL, check=False)

    def kelp_json(self, *words):
        run = self.kelp(*words, "--json")
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)
