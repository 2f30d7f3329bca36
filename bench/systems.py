# SPDX-License-Identifier: Apache-2.0
"""The systems that are compared: how each is started, loaded and ended.

A library driver (bench/README.md has its command line) starts its own cluster and prints one line
of JSON. A server is started here, loaded by `kelp bench`, and looked at when the load says that the
counted time begins and ends. run(case, folder, seconds, warm_up) returns a result line or raises
RuntimeError.
"""
import ctypes
import json
import os
import shutil
import signal
import subprocess

from measure import Usage, call, children, free_ports, wait_for

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


class Driver:
    """A program bench-NAME, or NAME for the peers', in build/bench."""

    servers = False

    def __init__(self, name, packages="", label=None, servers=False):
        self.name, self.packages, self.label = name, packages, label or name
        self.servers = servers
        paths = [os.path.join(ROOT, "build", "bench", p) for p in (f"bench-{name}", name)]
        self.program = next((p for p in paths if os.access(p, os.X_OK)), None)

    def missing(self):
        if self.program is not None:
            return None
        return f"build/bench/{self.name} is not there" + (
            f"; needs {self.packages}" if self.packages else "")

    def run(self, case, folder, seconds, warm_up):
        log = os.path.join(folder, "log")
        with open(log, "wb") as f:
            words = [self.program, "--nodes", str(case.nodes), "--in-flight", str(case.open),
                     "--value", str(case.value), "--seconds", f"{seconds:g}", "--warm-up",
                     f"{warm_up:g}", "--dir", os.path.join(folder, "data")]
            process = start(words, f, stdout=subprocess.PIPE, text=True)
            try:
                out = process.communicate(timeout=seconds + warm_up + 120)[0]
            except subprocess.TimeoutExpired as error:
                process.kill()
                process.wait()
                raise RuntimeError("it does not end") from error
        if process.returncode != 0:
            raise RuntimeError(f"status {process.returncode}: {last_words(log)}")
        said = json.loads(out)
        if said.get("verified") is not True or said["operations"] <= 0:
            raise RuntimeError("not verified")
        said["per_second"] = said["operations"] / said["seconds"]
        return said


class Server:
    """Something that `kelp bench` can load; begin() starts it and says where and which pids."""

    servers = True
    packages = ""
    label = name = version = ""

    def missing(self):
        return None if os.access(KELP, os.X_OK) else "build/kelp is not there"

    def begin(self, case, folder, log, processes):
        raise NotImplementedError

    def end(self, processes):
        for p in processes:
            p.send_signal(signal.SIGTERM)
        for p in processes:
            try:
                p.wait(timeout=60)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()

    def run(self, case, folder, seconds, warm_up):
        log = os.path.join(folder, "log")
        processes = []
        with open(log, "wb") as f:
            try:
                port, pids = self.begin(case, folder, f, processes)
                said = self.load(case, folder, port, pids, seconds, warm_up)
            finally:
                self.end(processes)
        self.after(processes)
        return {"system": self.name, "version": self.version, "nodes": case.nodes, **said}

    def after(self, processes):
        """Judges what the servers themselves say at the end."""

    def load(self, case, folder, port, pids, seconds, warm_up):
        words = [KELP, "bench", "--at", f"127.0.0.1:{port}", "--clients", str(case.open),
                 "--pipeline", str(case.pipeline), "--value", str(case.value), "--command",
                 case.command, "--seconds", f"{seconds:g}", "--warm-up", f"{warm_up:g}", "--json",
                 "--marks"]
        load = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, preexec_fn=end_with_parent)
        seen = {}
        complaints = []
        for line in load.stderr:
            if line.strip() in ("begin", "end"):
                seen[line.strip()] = Usage(pids, folder)
            else:
                complaints.append(line.strip())
        said = json.loads(load.stdout.read() or "{}")
        if load.wait() != 0 or len(seen) != 2 or said["errors"] or said["connections_lost"]:
            raise RuntimeError(f"the load failed: {complaints or said}")
        said.update(seen["end"].each(seen["begin"], said["operations"]))
        return said


class KelpServer(Server):
    name, label = "kelp", "kelp server"

    def __init__(self):
        if self.missing() is None:
            self.version = subprocess.run([KELP, "--version"], capture_output=True, text=True,
                                          check=True).stdout.split(",")[0].split()[-1]

    def begin(self, case, folder, log, processes):
        ports = free_ports(3 * case.nodes)
        clients, peers = ports[:case.nodes], ports[case.nodes:2 * case.nodes]
        members = ",".join(f"{i + 1}=127.0.0.1:{port}" for i, port in enumerate(peers))
        for i in range(case.nodes):
            processes.append(start(
                [KELP, "server", "--id", str(i + 1), "--data", f"{folder}/node-{i + 1}",
                 "--client", f"127.0.0.1:{clients[i]}", "--peer", f"127.0.0.1:{peers[i]}",
                 "--http", f"127.0.0.1:{ports[2 * case.nodes + i]}", "--bootstrap", members],
                log, stdout=log))

        def leader():
            for port in clients:
                if b"role:leader" in (call(port, "RAFT", "STATUS") or b"") and \
                   call(port, "SET", "ready", "1") == b"+OK\r\n":
                    return port
            return None
        return wait_for(leader, "there is a leader"), [p.pid for p in processes]


class Redis(Server):
    name, label, packages = "redis", "Redis alone, synced", "redis-server"

    def __init__(self):
        self.program = shutil.which("redis-server")
        if self.program is not None:
            words = subprocess.run([self.program, "--version"], capture_output=True, text=True,
                                   check=True).stdout.split()
            self.version = next((w[2:] for w in words if w.startswith("v=")), "unknown")

    def missing(self):
        if self.program is None:
            return f"redis-server is not there; needs {self.packages}"
        return super().missing()

    def begin(self, case, folder, log, processes):
        port = free_ports(1)[0]
        processes.append(start([self.program, "--port", str(port), "--bind", "127.0.0.1", "--dir",
                                folder, "--appendonly", "yes", "--appendfsync", "always",
                                "--save", ""], log, stdout=log))
        wait_for(lambda: call(port, "PING") == b"+PONG\r\n", "Redis answers")
        return port, [processes[0].pid]


class FloorServer(Server):
    name, label, version = "floor", "floor, same front", "1"

    def __init__(self):
        self.driver = Driver("floor")

    def missing(self):
        return self.driver.missing() or super().missing()

    def begin(self, case, folder, log, processes):
        port = free_ports(1)[0]
        processes.append(start([self.driver.program, "--front", str(port), "--nodes",
                                str(case.nodes), "--dir", f"{folder}/data"], log,
                               stdout=subprocess.PIPE, text=True))
        wait_for(lambda: call(port, "GET", "none") == b"$-1\r\n", "the floor answers")
        return port, children(processes[0].pid)

    def after(self, processes):
        said = json.loads(processes[0].stdout.read() or "{}")
        if said.get("verified") is not True and said.get("operations", 0) > 0:
            raise RuntimeError("the floor does not hold what it acknowledged")


def all_systems():
    return [
        Driver("floor"), Driver("kelp", label="libkelp"),
        Driver("libraft", "libraft-dev"),
        Driver("hashicorp", "golang-go golang-github-hashicorp-raft-dev "
               "golang-github-hashicorp-raft-boltdb-dev", label="hashicorp/raft"),
        FloorServer(), KelpServer(), Redis(),
        Driver("etcd", "etcd-server golang-go golang-etcd-server-dev", servers=True),
    ]
