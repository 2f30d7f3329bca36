# SPDX-License-Identifier: Apache-2.0
"""How long nobody's write is acknowledged after a leader was killed, with kill -9, under load.

The load is an open loop: a new write every few milliseconds, whatever became of those before it,
on a connection that waits for nothing, to the nodes that will stay, in turn. So a request that
hangs until its deadline delays no other, and the gap is that of the cluster, not of one client: the
longest time between two acknowledgements in a row, from the last one before the kill on. It counts
only if another node leads afterwards in a later term, and if in the end every write that was
acknowledged can be read.
"""
import base64
import json
import random
import selectors
import socket
import time

from cluster import EtcdNodes, KelpNodes
from measure import call, wait_for

EVERY = 0.005  # s between two writes
STEADY = 40  # acknowledged writes before a kill, and after the gap
CONNECTIONS_MAX = 4000
KILLS = 4  # a round


class Resp:
    """Kelp: SET, and what answers it."""

    @staticmethod
    def write(number):
        key = b"f%d" % number
        return b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\nv\r\n" % (len(key), key)

    @staticmethod
    def answer(data):
        """None: there is more to come; else whether it is an acknowledgement."""
        return data == b"+OK\r\n" if data.endswith(b"\r\n") else None

    @staticmethod
    def held(nodes, numbers):
        """How many of these the cluster holds."""
        port = nodes.ports[nodes.leader()]
        return sum(int((call(port, "EXISTS", *(f"f{i}" for i in numbers[at:at + 500])) or b":0")
                       .strip(b":\r\n")) for at in range(0, len(numbers), 500))


class Gateway:
    """etcd: a Put through the HTTP gateway on a connection that is kept."""

    @staticmethod
    def write(number):
        body = json.dumps({"key": base64.b64encode(b"f%d" % number).decode(),
                           "value": "dg=="}).encode()
        return (b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    @staticmethod
    def answer(data):
        head, _, body = data.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:") and len(body) < int(line.split(b":")[1]):
                return None
        if not body or (b"chunked" in head.lower() and not body.endswith(b"0\r\n\r\n")):
            return None
        return head.startswith(b"HTTP/1.1 200") and b'"revision"' in body

    @staticmethod
    def held(nodes, numbers):
        said = nodes.ask(nodes.leader(), "/v3/kv/range", range_end=base64.b64encode(b"g").decode(),
                         key=base64.b64encode(b"f").decode(), keys_only=True)
        found = {int(base64.b64decode(pair["key"])[1:]) for pair in (said or {}).get("kvs", [])}
        return len(found.intersection(numbers))


class Writer:
    """The open loop. acks holds (when, number), in the order they came."""

    def __init__(self, codec):
        self.codec, self.acks, self.refused, self.gone = codec, [], 0, 0
        self.ports, self.turn, self.number = [], 0, 0
        self.idle, self.selector, self.due = {}, selectors.DefaultSelector(), time.monotonic()
        self.open = 0

    def close(self):
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()

    def drop(self, connection):
        self.selector.unregister(connection)
        connection.close()
        self.open -= 1

    def dial(self, port):
        connection = socket.create_connection(("127.0.0.1", port), timeout=1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open += 1
        if self.open > CONNECTIONS_MAX:
            raise RuntimeError(f"{self.open} writes wait for an answer")
        return connection

    def write(self):
        port = self.ports[self.turn % len(self.ports)]
        self.turn += 1
        waiting = self.idle.setdefault(port, [])
        connection = waiting.pop() if waiting else None
        if connection is None:
            connection = self.dial(port)
            self.selector.register(connection, selectors.EVENT_READ, None)
        self.number += 1
        self.selector.modify(connection, selectors.EVENT_READ, [port, self.number, b""])
        try:
            connection.sendall(self.codec.write(self.number))
        except OSError:
            self.gone += 1
            self.drop(connection)

    def read(self, key):
        try:
            data = key.fileobj.recv(65536)
        except OSError:
            data = b""
        if not data or key.data is None:  # closed; or an answer that nobody asked for
            self.gone += 1
            for waiting in self.idle.values():
                if key.fileobj in waiting:
                    waiting.remove(key.fileobj)
            self.drop(key.fileobj)
            return
        key.data[2] += data
        good = self.codec.answer(key.data[2])
        if good is None:
            return
        if good:
            self.acks.append((time.monotonic(), key.data[1]))
        else:
            self.refused += 1
        self.idle[key.data[0]].append(key.fileobj)
        self.selector.modify(key.fileobj, selectors.EVENT_READ, None)

    def until(self, condition, what, seconds=60):
        """Goes on until condition()."""
        end = time.monotonic() + seconds
        while not condition():
            now = time.monotonic()
            if now > end:
                raise RuntimeError(f"after {seconds} s still not: {what}; {len(self.acks)} writes "
                                   f"acknowledged, {self.refused} refused")
            if self.due <= now:
                self.write()
                self.due = max(self.due + EVERY, now - EVERY)
            for key, _ in self.selector.select(max(0.0, self.due - time.monotonic())):
                self.read(key)

    def steady(self):
        seen = len(self.acks)
        self.until(lambda: len(self.acks) >= seen + STEADY, f"{STEADY} more writes")

    def run(self, seconds):
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, "the time is over", seconds + 60)


def one_kill(nodes, writer, beat_ms, chance):
    """Kills the leader; the gap in ms."""
    leader, terms = nodes.leader(), nodes.terms()
    writer.ports = [port for i, port in nodes.ports.items() if i != leader]
    writer.due = time.monotonic()
    writer.steady()
    writer.run(chance.random() * beat_ms / 1000)  # any moment between two heartbeats
    before, at = len(writer.acks), time.monotonic()
    nodes.kill(leader)
    # In the pipes there may be answers of the dead one: the gap begins behind them. It is over
    # once writes are steady again, and a little later, in case a second election comes.
    writer.until(lambda: writer.acks[-1][0] > at + 0.002 and len(writer.acks) > before + STEADY,
                 "writes go on without the leader that was killed")
    writer.run(0.2)
    times = [when for when, _ in writer.acks[max(0, before - 1):]]
    gap = max(b - a for a, b in zip(times, times[1:]))
    if nodes.leader() == leader or max(nodes.terms()) <= max(terms):
        raise RuntimeError(f"node {leader} was killed and nobody was elected")
    nodes.start(leader)
    wait_for(lambda: nodes.status(leader), "the killed node is back")
    nodes.level()
    return gap * 1000


def failover(kind, codec, beat_ms, **timers):
    """A measurement: a few kills in a row, another leader each, on one cluster."""
    def measured(case, folder, _options):
        chance = random.Random(beat_ms)
        with kind(folder, case.nodes, **timers).start() as nodes:
            nodes.leader()
            nodes.level()
            writer = Writer(codec)
            try:
                gaps = [one_kill(nodes, writer, beat_ms, chance) for _ in range(KILLS)]
            finally:
                writer.close()
            numbers = sorted(number for _, number in writer.acks)
            held = codec.held(nodes, numbers)
        if held != len(numbers) or len(set(numbers)) != len(numbers):
            raise RuntimeError(f"{len(numbers)} writes were acknowledged and {held} are there")
        return {"gap_ms": gaps, "operations": len(numbers), "refused": writer.refused}
    return measured


def of_kelp(heartbeat, election):
    return failover(KelpNodes, Resp, heartbeat, heartbeat_ms=heartbeat, election_ms=election)


def of_etcd(heartbeat, election):
    return failover(EtcdNodes, Gateway, heartbeat, heartbeat_interval=heartbeat,
                    election_timeout=election)
