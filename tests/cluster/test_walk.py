# SPDX-License-Identifier: Apache-2.0
"""A person's walk: a `kelp dev` cluster grows from one node to five and back, one is replaced, the
leader is moved, drained and killed, with the words of the command line only. Clients of every node
count their errors by class meanwhile, and after each step `kelp status` must say the truth."""
import collections
import json
import subprocess
import threading
import time

import pytest
import redis

from kelp import REQUEST_MS, end_with_parent, wait_for
from test_cli import free_base_port, run

NODES = 6  # five, and the one that takes the place of another


class Load:
    """Clients of some nodes' ports; what was no answer is counted by its first word."""

    def __init__(self):
        self.lock = threading.Lock()
        self.errors, self.words = collections.Counter(), {}
        self.ok, self.wrong = collections.Counter(), []
        self.leaving = {}  # by node: set when its clients shall go

    def join(self, node, port):
        self.leaving[node] = threading.Event()
        thread = threading.Thread(target=self._run, args=(node, port, self.leaving[node]),
                                  daemon=True)
        self.leaving[node].thread = thread
        thread.start()

    def leave(self, node):
        self.leaving[node].set()
        self.leaving.pop(node).thread.join(timeout=60)

    def _run(self, node, port, leaving):
        client, number = redis.Redis("127.0.0.1", port, socket_timeout=REQUEST_MS / 1000 + 10,
                                     retry=None), 0
        while not leaving.is_set():
            number += 1
            key = f"walk:{node}:{number % 100}"
            try:
                client.set(key, number)
                got = client.get(key)
                with self.lock:
                    self.ok[node] += 1
                    if int(got or 0) != number:
                        self.wrong.append((key, number, got))
            except redis.RedisError as error:
                lost = isinstance(error, redis.ConnectionError)
                word = "connection" if lost else str(error).split(" ", 1)[0]
                with self.lock:
                    self.errors[word] += 1
                    self.words.setdefault(word, f"node {node}: {error}")
                time.sleep(0.02)
        client.close()

    def goes_on(self):
        """Every client that is there gets answers."""
        before = dict(self.ok)
        wait_for(lambda: all(self.ok[n] > before.get(n, 0) + 5 for n in list(self.leaving)),
                 f"all clients are served, errors so far: {self.words}")

    def new_errors(self):
        with self.lock:
            found, said = dict(self.errors), dict(self.words)
            self.errors.clear()
            self.words.clear()
        return found, said

    def saw_no_error(self):
        self.goes_on()
        found, said = self.new_errors()
        assert not found, (found, said)
        assert not self.wrong, self.wrong


class Walk:
    def __init__(self, program, directory):
        self.program, self.directory = program, directory
        self.base = free_base_port(NODES)
        self.dev = subprocess.Popen(
            [program, "dev", "--nodes", "1", "--dir", f"{directory}/dev", "--base-port",
             str(self.base), "--json"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=end_with_parent)
        assert json.loads(self.dev.stdout.readline())["node"] == 1
        self.servers, self.members = {}, {1}

    def end(self):
        for server in self.servers.values():
            server.kill()
            server.wait()
        self.dev.terminate()
        self.dev.wait(timeout=10)

    def start(self, node, name=None):
        """As README.md shows it; name: what stands behind --id."""
        words = [self.program, "server", "--id", name or str(node)]
        for flag, at in (("--client", 0), ("--peer", 100), ("--http", 200)):
            words += [flag, f"127.0.0.1:{self.base + at + node}"]
        words += ["--data", f"{self.directory}/kelp-{node}", "--join", self.peer(1)]
        with open(f"{self.directory}/kelp-{node}.log", "ab") as log:
            self.servers[node] = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log,
                                                  stderr=log, preexec_fn=end_with_parent)

    def tell_dev(self, *words):
        said = run(self.program, "dev", "--dir", f"{self.directory}/dev", *words)
        assert said.returncode == 0, said

    def peer(self, node):
        return f"127.0.0.1:{self.base + 100 + node}"

    def kelp(self, *words, fails=None):
        at = ",".join(f"127.0.0.1:{self.base + n}" for n in sorted(self.members))
        said = run(self.program, *words, KELP_AT=at, timeout=90)
        if fails is None:
            assert said.returncode == 0, (words, said)
            return said.stdout
        assert said.returncode == 1 and fails in said.stderr, (words, said)
        return said.stderr

    def status(self):
        return json.loads(self.kelp("status", "--json"))

    def leader(self):
        for row in self.status()["nodes"]:
            if row.get("role") == "leader":
                return int(row["node_id"])
        return None

    def tells_the_truth(self, leader=None, dead=(), drained=()):
        """kelp status, in both forms, says what is so: at once what was answered as done, soon
        what travels (who answers whom, who has applied what)."""
        alive = self.members - set(dead)
        spare = len(alive) - (len(self.members) // 2 + 1)
        said = {}

        def so():
            said["json"], said["text"] = self.status(), self.kelp("status")
            rows = {int(n["node_id"]): n for n in said["json"]["nodes"] if "role" in n}
            assert set(rows) <= alive, f"rows of {sorted(rows)}, there are {sorted(alive)}"
            leads = [i for i, n in rows.items() if n["role"] == "leader"]
            if set(rows) != alive or len(leads) != 1 or any(n["role"] not in ("leader", "follower")
                                                              for n in rows.values()):
                return False
            top = rows[leads[0]]
            # never more than is true, not even for a moment
            assert int(top["tolerates"]) <= spare, (top, said["text"])
            return int(top["tolerates"]) == spare and \
                (leader is None or leads == [leader]) and \
                all(n["leader_id"] == str(leads[0]) or n["leader_id"] == leads[0]
                    for n in rows.values()) and \
                {str(n["term"]) for n in rows.values()} == {str(top["term"])} and \
                all({int(i) for i in n["voters"].split(",")} == self.members
                    for n in rows.values()) and \
                len({str(n["config_committed"]) for n in rows.values()}) == 1 and \
                all(n["member"] == "voter" and n["health"] == "ok" for n in rows.values()) and \
                all((n["drained"] == "yes") == (i in drained) for i, n in rows.items())

        wait_for(so, f"status tells the truth: leader {leader}, {sorted(alive)} of "
                     f"{sorted(self.members)}, spare {spare}")
        head, *table = said["text"].splitlines()
        leads = leader or self.leader()
        assert f"node {leads} leads" in head and f"may lose {spare} more" in head, head
        assert [line.split()[1] for line in table if line.startswith("*")] == [str(leads)], table
        rows = {int(line.lstrip("* ").split()[0]): line for line in table[1:]}
        assert set(rows) == self.members, table
        for node in dead:
            assert "unreachable" in rows[node], table
        for node in drained:
            assert "drained:yes" in rows[node], table
        listed = [line.split()[0] for line in self.kelp("members").splitlines()]
        assert [f"id:{i}" for i in sorted(self.members)] == listed[1:], listed


@pytest.fixture
def walk(program, tmp_path):
    made = Walk(program, str(tmp_path))
    yield made
    made.end()


def test_a_person_grows_a_dev_cluster_moves_it_and_shrinks_it_again(walk):
    load = Load()
    wait_for(lambda: "leads" in run(walk.program, "status", "--at",
                                    f"127.0.0.1:{walk.base + 1}").stdout, "the only node leads")
    walk.tells_the_truth(leader=1)
    load.join(1, walk.base + 1)

    for node in (2, 3, 4, 5):  # from one to five
        walk.start(node)
        wait_for(lambda n=node: f"knocks:{n}" in walk.kelp("members"), "it knocks")
        assert walk.kelp("members", "add", str(node)).startswith("OK index=")
        walk.members.add(node)
        walk.tells_the_truth(leader=1)
        load.join(node, walk.base + node)
        load.saw_no_error()

    assert walk.kelp("transfer", "3") == "node 3 leads now\n"  # the leader moves
    walk.tells_the_truth(leader=3)
    walk.kelp("transfer", "3", fails="SELF")
    walk.kelp("transfer", "9", fails="UNKNOWN_MEMBER")
    load.saw_no_error()
    walk.kelp("drain", "3")
    moved = walk.leader()
    assert moved not in (3, None)
    walk.kelp("transfer", "3", fails="DRAINED")
    walk.tells_the_truth(leader=moved, drained=[3])
    walk.kelp("undrain", "3")
    walk.tells_the_truth(leader=moved)
    load.saw_no_error()

    gone = 5 if moved != 5 else 4  # one is replaced by a machine that has no id yet
    walk.start(6, name="auto")
    wait_for(lambda: "knocks:auto" in walk.kelp("members"), "it knocks")
    load.leave(gone)
    assert walk.kelp("members", "replace", str(gone), "auto").endswith(" id=6\n")
    walk.members = walk.members - {gone} | {6}
    walk.tells_the_truth(leader=moved)
    load.join(6, walk.base + 6)
    load.saw_no_error()
    said = run(walk.program, "status", "--at", f"127.0.0.1:{walk.base + gone}").stdout
    assert f" {gone} removed" in said, said  # it was told, and says so

    if moved != 1:
        assert walk.kelp("transfer", "1") == "node 1 leads now\n"
        load.saw_no_error()
    load.leave(1)
    walk.tell_dev("kill", "1")  # nobody planned that
    wait_for(lambda: walk.leader() not in (1, None), "another leads")
    walk.tells_the_truth(dead=[1])
    load.goes_on()
    found, said = load.new_errors()
    assert set(found) <= {"UNCERTAIN", "CLUSTERDOWN"} and not load.wrong, (found, said, load.wrong)
    walk.tell_dev("start", "1")
    walk.tells_the_truth()
    load.join(1, walk.base + 1)
    load.saw_no_error()

    while len(walk.members) > 1:  # back to one, the leader first each time but the last two
        leader = walk.leader()
        node = leader if len(walk.members) > 3 else max(walk.members - {1})
        load.leave(node)
        assert walk.kelp("members", "remove", str(node)).startswith("OK index=")
        walk.members.remove(node)
        walk.tells_the_truth()
        load.saw_no_error()
    last = walk.members.pop()
    walk.members.add(last)
    walk.kelp("members", "remove", str(last), "force", fails="LAST_VOTER")
    load.saw_no_error()
    load.leave(last)
