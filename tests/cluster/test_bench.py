# SPDX-License-Identifier: Apache-2.0
"""`kelp bench` and the measured programs: that what they count is true, never how fast it was."""
import json
import socket
import subprocess
import threading

from kelp import wait_for

SHORT = ["--seconds", "0.3", "--warm-up", "0.05", "--json"]


def at(*nodes):
    return ",".join(f"127.0.0.1:{n.client_port}" for n in nodes)


def bench(cluster, *words, where=None):
    run = cluster.kelp("bench", *words, *SHORT, at=where or at(*cluster.nodes.values()))
    assert run.stdout, run.stderr
    return run.returncode, json.loads(run.stdout)


# ---- kelp bench ---------------------------------------------------------------------------------


def test_bench_counts_what_happened_and_reads_it_back(make_cluster):
    cluster = make_cluster(3)
    for words in (["--clients", "1"], ["--clients", "16", "--pipeline", "16", "--value", "5000"],
                  ["--command", "get", "--keys", "300", "--clients", "7"],
                  ["--command", "mixed", "--keys", "50", "--value", "3"]):
        before = cluster.leader().number("applied_index")
        status, said = bench(cluster, *words)
        assert status == 0 and said["verified"] is True, said
        assert said["operations"] > 0 and said["read_back"] > 0
        assert said["wrong"] == said["unanswered"] == 0 and said["errors"] == {}
        assert said["p50_us"] <= said["p99_us"] <= said["max_us"]
        if said["command"] == "set":  # warm-up and drain come on top of the window
            applied = cluster.leader().number("applied_index") - before
            assert applied >= said["operations"]
    cluster.wait_equal()


def test_an_open_loop_keeps_its_schedule(make_cluster):
    cluster = make_cluster(3)
    status, said = bench(cluster, "--clients", "8", "--rate", "200", "--keys", "100")
    assert status == 0, said
    due = said["seconds"] * 200
    assert abs(said["operations"] + said["unsent"] - due) <= 40, said  # warm-up's and drain's ends


def test_errors_are_counted_and_spoil_no_key(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.leader()
    others = [n for n in cluster.nodes.values() if n is not leader]
    running = subprocess.Popen(
        [cluster.program, "bench", "--at", at(*others), "--clients", "8", "--keys", "64",
         "--seconds", "3", "--warm-up", "0", "--json"], stdout=subprocess.PIPE, text=True)
    wait_for(lambda: leader.number("applied_index") > 50, "the load has begun")
    leader.kill()
    said = json.loads(running.communicate(timeout=60)[0])
    assert running.returncode == 0 and said["wrong"] == 0, said
    assert said["read_back"] > 0 and said["longest_gap_ms"] > 0
    assert set(said["errors"]) <= {"UNCERTAIN", "CLUSTERDOWN", "TRYAGAIN"}, said


class Liar(threading.Thread):
    """Answers every SET with OK and every GET with something else than was written."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    @staticmethod
    def serve(connection):
        lie = b"+PONG\r\n"
        with connection, connection.makefile("rb") as requests:
            while head := requests.readline():
                words = []
                for _ in range(int(head[1:])):
                    words.append(requests.read(int(requests.readline()[1:]) + 2)[:-2])
                if words[0] == b"SET":
                    lie = b"+OK\r\n"
                elif words[0] == b"GET":
                    lie = b"$16\r\n0000000000000000\r\n"
                connection.sendall(lie)


def test_a_server_that_forgets_is_found_out(program):
    liar = Liar()
    liar.start()
    try:
        for command in ("set", "mixed", "get"):
            run = subprocess.run([program, "bench", "--at", f"127.0.0.1:{liar.port}", "--clients",
                                  "2", "--keys", "20", "--value", "16", "--command", command,
                                  *SHORT], capture_output=True, text=True, timeout=60, check=False)
            said = json.loads(run.stdout)
            assert run.returncode == 1 and said["verified"] is False, said
            assert said["wrong"] > 0, said
    finally:
        liar.listener.close()
