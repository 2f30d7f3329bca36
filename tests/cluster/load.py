# SPDX-License-Identifier: Apache-2.0
"""Writers that keep a ledger: what was answered OK, what was refused, what nobody can know.

A definite refusal (any error but UNCERTAIN) must never be seen in the data; an OK always. An
answer that never came counts as uncertain.
"""
import threading
import time

from kelp import Error, Gone


class Ledger:
    """Unique keys and one counter, written by threads through all nodes in turn."""

    def __init__(self, cluster, writers=4, value_bytes=16, prefix="unique", counter="ledger"):
        self.cluster, self.prefix, self.counter = cluster, prefix, counter
        self.value_bytes = value_bytes
        self.lock = threading.Lock()
        self.ok, self.refused, self.uncertain = set(), set(), set()
        self.incr_ok = self.incr_uncertain = 0
        self.wrong = []  # answers that make no sense
        self.errors = []  # answers that are errors, as they came
        self.last_ok = time.monotonic()
        self.gap = 0.0
        self.count = 0  # all OKs
        self.going = True
        self.threads = [threading.Thread(target=self._write, args=(i,), daemon=True)
                        for i in range(writers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.going = False
        for thread in self.threads:
            thread.join(timeout=60)
            assert not thread.is_alive(), "a writer waits for an answer that never comes"

    def reset_gap(self):
        with self.lock:
            self.gap = 0.0

    def longest_gap(self):
        """The longest time without an OK since reset_gap, the running one included."""
        with self.lock:
            return max(self.gap, time.monotonic() - self.last_ok)

    def value(self, key):
        return (key + ":" + "v" * self.value_bytes).encode()

    def _ok(self):
        now = time.monotonic()
        self.gap = max(self.gap, now - self.last_ok)
        self.last_ok = now
        self.count += 1

    def _note_set(self, key, answer):
        with self.lock:
            if isinstance(answer, Error):
                self.errors.append(answer)
            if answer == "OK":
                self.ok.add(key)
                self._ok()
            elif answer is None or (isinstance(answer, Error) and answer.code == "UNCERTAIN"):
                self.uncertain.add(key)
            elif isinstance(answer, Error):
                self.refused.add(key)
            else:
                self.wrong.append((key, answer))

    def _note_incr(self, answer):
        with self.lock:
            if isinstance(answer, Error):
                self.errors.append(answer)
            if isinstance(answer, int):
                self.incr_ok += 1
                self._ok()
            elif answer is None or answer.code == "UNCERTAIN":
                self.incr_uncertain += 1

    def _write(self, writer):
        nodes = list(self.cluster.nodes.values())
        turn, serial, connection = writer, 0, None
        while self.going:
            serial += 1
            key = f"{self.prefix}:{writer}:{serial}"
            try:
                if connection is None:
                    turn += 1
                    connection = nodes[turn % len(nodes)].raw()
            except Gone:
                time.sleep(0.02)  # that node is down
                continue
            answers = []
            try:
                connection.send_bytes(b"")
                connection.send("SET", key, self.value(key))
                connection.send("INCR", self.counter)
                answers.append(connection.read())
                answers.append(connection.read())
            except Gone:
                connection.close()
                connection = None
            answers += [None] * (2 - len(answers))
            self._note_set(key, answers[0])
            self._note_incr(answers[1])
            if isinstance(answers[0], Error):
                time.sleep(0.01)
        if connection is not None:
            connection.close()

    def check(self, node):
        """Everything acknowledged is there, nothing refused is, through this node."""
        assert not self.wrong, self.wrong[:5]
        with node.raw() as c:
            lost = self._absent(c, sorted(self.ok))
            assert not lost, f"{len(lost)} acknowledged keys are lost, first {lost[:5]}"
            refused = sorted(self.refused)
            ghosts = sorted(set(refused) - set(self._absent(c, refused)))
            assert not ghosts, f"{len(ghosts)} refused writes happened, first {ghosts[:5]}"
            self._absent(c, sorted(self.uncertain))  # there or not, but never another value
            total = int(c.call("GET", self.counter) or 0)
            assert self.incr_ok <= total <= self.incr_ok + self.incr_uncertain, \
                f"{total} increments, {self.incr_ok} OK, {self.incr_uncertain} uncertain"
        return total

    def _absent(self, connection, keys):
        absent = []
        for begin in range(0, len(keys), 200):
            batch = keys[begin:begin + 200]
            values = connection.call("MGET", *batch)
            assert not isinstance(values, Error), values
            for key, value in zip(batch, values):
                if value is None:
                    absent.append(key)
                else:
                    assert value == self.value(key), f"{key} has another value"
        return absent
