# SPDX-License-Identifier: Apache-2.0
"""The systems that are compared: how each is started, loaded and ended.

A library driver (bench/README.md has its command line) starts its own cluster and prints one line
of JSON. A server is started here, loaded by `kelp bench`, and looked at when the load says that the
counted time begins and ends. run(case, folder, seconds, warm_up) returns a result line or raises
RuntimeError.
"""
import json
import os
import shutil
import subprocess

import cluster
from cluster import KELP, ROOT, KelpNodes, last_words, start
from measure import call, children, free_ports, wait_for


class Driver:
    """A program bench-NAME, or NAME for the peers', in build/bench. own: more arguments."""

    servers = False

    def __init__(self, name, packages="", label=None, servers=False, program=None, own=None):
        self.name, self.packages, self.label = name, packages, label or name
        self.servers, program = servers, program or name
        self.own = own or (lambda case: ["--nodes", str(case.nodes)])
        paths = [os.path.join(ROOT, "build", "bench", p) for p in (f"bench-{program}", program)]
        self.program = next((p for p in paths if os.access(p, os.X_OK)), None)

    def missing(self):
        if self.program is not None:
            return None
        return f"build/bench/{self.name} is not there" + (
            f"; needs {self.packages}" if self.packages else "")

    def run(self, case, folder, seconds, warm_up):
        log = os.path.join(folder, "log")
        with open(log, "wb") as f:
            words = [self.program, *self.own(case), "--in-flight", str(case.open), "--value",
                     str(case.value), "--seconds", f"{seconds:g}", "--warm-up", f"{warm_up:g}",
                     "--dir", os.path.join(folder, "data")]
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
        """Starts it; the ports to load and the processes to count."""
        raise NotImplementedError

    def run(self, case, folder, seconds, warm_up):
        log = os.path.join(folder, "log")
        processes = []
        with open(log, "wb") as f:
            try:
                ports, pids = self.begin(case, folder, f, processes)
                said = self.load(case, folder, ports, pids, seconds, warm_up)
            finally:
                cluster.end(processes)
        self.after(processes)
        return {"system": self.name, "version": self.version, "nodes": case.nodes, **said}

    def after(self, processes):
        """Judges what the servers themselves say at the end."""

    def load(self, case, folder, ports, pids, seconds, warm_up):
        """The load, with case.idle connections beside it that are answered before and after."""
        idle = cluster.connections(ports, case.idle)
        try:
            said = cluster.load(ports, pids, folder, clients=case.open, pipeline=case.pipeline,
                                value=case.value, command=case.command, keys=case.keys,
                                fill=case.fill, seconds=float(seconds), warm_up=float(warm_up))
            cluster.ping(idle)
        finally:
            cluster.close_all(idle)
        return said


class KelpServer(Server):
    name, label = "kelp", "kelp server"

    def __init__(self):
        if self.missing() is None:
            self.version = subprocess.run([KELP, "--version"], capture_output=True, text=True,
                                          check=True).stdout.split(",")[0].split()[-1]

    def begin(self, case, folder, log, processes):
        raise NotImplementedError

    def run(self, case, folder, seconds, warm_up):
        with KelpNodes(folder, case.nodes).start() as nodes:
            leader = nodes.leader()
            others = [i for i in nodes.numbers if i != leader]
            at = {"leader": [leader], "follower": others[:1], "spread": nodes.numbers}[case.place]
            said = self.load(case, folder, [nodes.ports[i] for i in at], nodes.pids(), seconds,
                             warm_up)
            if nodes.leader() != leader:
                raise RuntimeError("the leader changed")
        return {"system": self.name, "version": self.version, "nodes": case.nodes, **said}


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
        return [port], [processes[0].pid]


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
        return [port], children(processes[0].pid)

    def after(self, processes):
        said = json.loads(processes[0].stdout.read() or "{}")
        if said.get("verified") is not True and said.get("operations", 0) > 0:
            raise RuntimeError("the floor does not hold what it acknowledged")


def all_systems():
    return [
        Driver("floor"), Driver("kelp", label="libkelp"),
        Driver("writers", label="writers alone", program="floor",
               own=lambda case: ["--writers", str(case.nodes)]),
        Driver("libraft", "libraft-dev"),
        Driver("hashicorp", "golang-go golang-github-hashicorp-raft-dev "
               "golang-github-hashicorp-raft-boltdb-dev", label="hashicorp/raft"),
        FloorServer(), KelpServer(), Redis(),
        Driver("etcd", "etcd-server golang-go golang-etcd-server-dev", servers=True),
    ]
