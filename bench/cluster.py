# SPDX-License-Identifier: Apache-2.0
"""Clusters of real servers for the bench: Kelp's, and etcd's through its HTTP gateway.

Nodes have the numbers 1 to N. A node can be killed, paused and started again on its directory;
end() ends all of them whatever state they are in. Load comes from `kelp bench`, which is told when
to look at the servers (load()).
"""
import base64
import ctypes
import glob
import http.client
import json
import os
import signal
import socket
import subprocess
import time

from measure import Usage, call, free_ports, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KELP = os.path.join(ROOT, "build", "kelp")
_libc = ctypes.CDLL(None)


def end_with_parent():
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def start(words, log, **options):
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=log,
                            preexec_fn=end_with_parent, **options)


def last_words(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        lines = f.read().splitlines()
    return "; ".join(lines[-6:]) if lines else "it said nothing"


def end(processes):
    for p in processes:
        p.send_signal(signal.SIGCONT)
        p.send_signal(signal.SIGTERM)
    for p in processes:
        try:
            p.wait(timeout=60)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


# ---- the load -----------------------------------------------------------------------------------


def load(ports, pids, folder, **flags):
    """Runs `kelp bench`; its report, with what the processes spent per operation in its window. An
    answer that is an error, or a lost connection, is a failure."""
    words = [KELP, "bench", "--at", ",".join(f"127.0.0.1:{p}" for p in ports), "--json", "--marks"]
    for name, value in flags.items():
        if value is True:
            words.append("--" + name.replace("_", "-"))
        elif value is not None and value is not False:
            words += ["--" + name.replace("_", "-"), f"{value:g}" if isinstance(value, float)
                      else str(value)]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, preexec_fn=end_with_parent)
    seen, complaints = {}, []
    with process:
        for line in process.stderr:
            if line.strip() in ("begin", "end"):
                seen[line.strip()] = Usage(pids, folder)
            else:
                complaints.append(line.strip())
        said = json.loads(process.stdout.read() or "{}")
    if process.returncode != 0 or len(seen) != 2 or said["errors"] or said["connections_lost"]:
        raise RuntimeError(f"the load failed: {complaints or said}")
    said.update(seen["end"].each(seen["begin"], said["operations"]))
    return said


# ---- connections that do nothing ----------------------------------------------------------------


def connections(ports, count):
    """So many connections that were answered once; to be closed by the caller."""
    out = []
    try:
        for i in range(count):
            s = socket.create_connection(("127.0.0.1", ports[i % len(ports)]), timeout=10)
            out.append(s)
        ping(out)
    except (OSError, RuntimeError) as error:
        close_all(out)
        raise RuntimeError(f"connection {len(out)} of {count}: {error}") from error
    return out


def ping(open_ones):
    for s in open_ones:
        s.sendall(b"*1\r\n$4\r\nPING\r\n")
    for s in open_ones:
        if s.recv(64) != b"+PONG\r\n":
            raise RuntimeError("an idle connection was not answered")


def close_all(open_ones):
    for s in open_ones:
        s.close()


# ---- Kelp ---------------------------------------------------------------------------------------


class Nodes:
    """Processes by number."""

    def __init__(self, folder, count):
        self.folder, self.numbers, self.processes = folder, range(1, count + 1), {}
        self.log_path = os.path.join(folder, "log")
        self.log = open(self.log_path, "ab")  # pylint: disable=consider-using-with

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(list(self.processes.values()))
        self.log.close()

    def words(self, number):
        raise NotImplementedError

    def start(self, *numbers):
        for i in numbers or self.numbers:
            self.processes[i] = start(self.words(i), self.log, stdout=self.log)
        return self

    def kill(self, number):
        process = self.processes.pop(number)
        process.kill()
        process.wait()

    def pid(self, number):
        return self.processes[number].pid

    def pids(self):
        return [p.pid for p in self.processes.values()]

    def find_leader(self):
        raise NotImplementedError

    def leader(self):
        """Its number, once one is known and has committed."""
        def found():
            for number, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"node {number} ended: {last_words(self.log_path)}")
            return self.find_leader()
        return wait_for(found, "there is a leader")


class KelpNodes(Nodes):
    """settings are those of `kelp server --set`, with _ for -."""

    name, label = "kelp", "kelp server"

    def __init__(self, folder, count=3, **settings):
        super().__init__(folder, count)
        ports = free_ports(3 * count)
        self.ports = {i: ports[3 * i - 3] for i in self.numbers}
        self.peers = {i: ports[3 * i - 2] for i in self.numbers}
        self.https = {i: ports[3 * i - 1] for i in self.numbers}
        self.settings = settings

    def words(self, number):
        out = [KELP, "server", "--id", str(number), "--data", self.data(number)]
        for flag, ports in (("client", self.ports), ("peer", self.peers), ("http", self.https)):
            out += [f"--{flag}", f"127.0.0.1:{ports[number]}"]
        out += ["--bootstrap", ",".join(f"{i}=127.0.0.1:{p}" for i, p in self.peers.items())]
        for key, value in self.settings.items():
            out += ["--set", f"{key.replace('_', '-')}={value}"]
        return out

    def data(self, number):
        return os.path.join(self.folder, f"node-{number}")

    def segments(self, number):
        return set(glob.glob(os.path.join(self.data(number), "log", "*.seg")))

    def status(self, number):
        """RAFT STATUS as a dictionary of strings; empty: no answer now."""
        answer = call(self.ports[number], "RAFT", "STATUS") or b""
        lines = answer.decode(errors="replace").splitlines()
        return dict(line.split(":", 1) for line in lines[1:] if ":" in line)

    def number_of(self, number, name):
        return int(self.status(number).get(name, -1))

    def terms(self):
        return {int(s["term"]) for i in self.processes if (s := self.status(i))}

    def find_leader(self):
        for number in list(self.processes):
            if self.status(number).get("role") == "leader" and \
               call(self.ports[number], "SET", "ready", "1") == b"+OK\r\n":
                return number
        return None

    def followers(self):
        leader = self.leader()
        return [i for i in self.processes if i != leader]

    def level(self):
        """Waits until all running nodes have one state; a state that differs at one index is a
        failure."""
        def equal():
            answers = [call(self.ports[i], "RAFT", "HASH") or b"" for i in self.processes]
            found = {a.split()[-2:][0].lstrip(b"+"): a for a in answers if len(a.split()) >= 2}
            if len(found) == 1 and b"" not in answers:
                if len(set(answers)) != 1:
                    raise RuntimeError(f"the nodes' states differ: {answers}")
                return True
            return False
        wait_for(equal, "all nodes are level", 120)

    def load(self, numbers, **flags):
        return load([self.ports[i] for i in numbers], self.pids(), self.folder, **flags)

    def write_until(self, count, seconds):
        """Writes small values over 1000 keys until the log holds count entries; reports of each
        window."""
        leader, reports = self.leader(), []
        while self.number_of(leader, "last_index") < count:
            if self.find_leader() != leader:
                raise RuntimeError("the leader changed")
            reports.append(self.load([leader], clients=64, pipeline=64, value=16, keys=1000,
                                     seconds=seconds, warm_up=0))
        return reports


# ---- etcd ---------------------------------------------------------------------------------------


def encoded(word):
    return base64.b64encode(word.encode()).decode()


class EtcdNodes(Nodes):
    """settings become flags; the load and the questions go through the HTTP gateway."""

    name, label = "etcd", "etcd"

    def __init__(self, folder, count=3, **settings):
        super().__init__(folder, count)
        ports = free_ports(2 * count)
        self.ports = {i: ports[2 * i - 2] for i in self.numbers}
        self.peers = {i: ports[2 * i - 1] for i in self.numbers}
        self.settings = settings

    def words(self, number):
        client = f"http://127.0.0.1:{self.ports[number]}"
        peer = f"http://127.0.0.1:{self.peers[number]}"
        out = ["etcd", "--name", f"n{number}", "--data-dir",
               os.path.join(self.folder, f"node-{number}"),
               "--listen-client-urls", client, "--advertise-client-urls", client,
               "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
               "--initial-cluster",
               ",".join(f"n{i}=http://127.0.0.1:{p}" for i, p in self.peers.items())]
        for key, value in self.settings.items():
            out += [f"--{key.replace('_', '-')}", str(value)]
        return out

    def ask(self, number, path, **question):
        """One question; None: no answer, or an error."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[number], timeout=5)
        try:
            connection.request("POST", path, json.dumps(question))
            answer = connection.getresponse()
            text = answer.read()
            return json.loads(text) if answer.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    def status(self, number):
        return self.ask(number, "/v3/maintenance/status") or {}

    def terms(self):
        return {int(s["raftTerm"]) for i in self.processes if (s := self.status(i))}

    def find_leader(self):
        for number in list(self.processes):
            status = self.status(number)
            if status and status.get("leader") == status["header"]["member_id"] and \
               self.ask(number, "/v3/kv/put", key=encoded("ready"), value=encoded("1")):
                return number
        return None

    def level(self):
        """Waits until all running nodes have applied the same."""
        def equal():
            said = {self.status(i).get("raftAppliedIndex") for i in self.processes}
            return len(said) == 1 and None not in said
        wait_for(equal, "all nodes are level", 120)


def settled(folder, seconds=60):
    """Waits until no file below a folder has taken new blocks for a second: a new log makes its
    spare segments, paced, after the cluster is born."""
    def used():
        total = 0
        for where, _, names in os.walk(folder):
            for name in names:
                try:
                    total += os.stat(os.path.join(where, name)).st_blocks
                except FileNotFoundError:
                    return -1
        return total
    seen, since = used(), time.monotonic()

    def quiet():
        nonlocal seen, since
        if (now := used()) != seen or now < 0:
            seen, since = now, time.monotonic()
        return time.monotonic() - since > 1
    wait_for(quiet, "the files are at rest", seconds)
