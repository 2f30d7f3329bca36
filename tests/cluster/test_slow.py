# SPDX-License-Identifier: Apache-2.0
"""One follower that is stopped, one that is behind a slow link: the others do not suffer."""
import os
import threading
import time

from kelp import Error, Gone, rss_bytes, sanitized, wait_for
from proxy import Link, Proxy

MIB = 1 << 20
VALUE_BYTES = 64 << 10
KEYS = 64  # written again and again, so that the state itself does not grow


class Flood:
    """Large values over the same few keys, through the leader, as fast as they are answered."""

    def __init__(self, node, writers=4):
        self.node, self.bytes, self.errors, self.going = node, 0, [], True
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._write, args=(i,), daemon=True)
                        for i in range(writers)]
        for thread in self.threads:
            thread.start()

    def _write(self, writer):
        value = bytes([65 + writer]) * VALUE_BYTES
        turn = 0
        try:
            with self.node.raw() as c:
                while self.going:
                    for _ in range(4):
                        turn += 1
                        c.send("SET", f"flood:{writer}:{turn % (KEYS // 4)}", value)
                    for _ in range(4):
                        answer = c.read()
                        with self.lock:
                            if answer == "OK":
                                self.bytes += VALUE_BYTES
                            else:
                                self.errors.append(answer)
        except Gone as gone:
            self.errors.append(gone)

    def stop(self):
        self.going = False
        for thread in self.threads:
            thread.join(timeout=30)
            assert not thread.is_alive()


def test_a_stopped_follower_costs_the_leader_bounded_memory(make_cluster, long_run):
    seconds = 60 if long_run else 10
    cache = 20 * MIB
    cluster = make_cluster(3, cache_bytes=cache, uncommitted_bytes=cache, forward_bytes=cache)
    leader = cluster.wait_leader()
    stopped = cluster.followers()[0]
    term = leader.number("term")
    flood = Flood(leader)
    wait_for(lambda: flood.bytes > 32 * MIB, "32 MiB are written with everybody there")
    with_all = flood.bytes
    before, begin = rss_bytes(leader.process.pid), time.monotonic()
    stopped.pause()
    most = before
    while time.monotonic() - begin < seconds or flood.bytes < with_all + 100 * MIB:
        assert time.monotonic() - begin < seconds + 60, f"only {flood.bytes >> 20} MiB written"
        most = max(most, rss_bytes(leader.process.pid))
        time.sleep(0.05)
    rate = (flood.bytes - with_all) / (time.monotonic() - begin)
    print(f"{(flood.bytes - with_all) >> 20} MiB at {rate / MIB:.1f} MiB/s without node "
          f"{stopped.id}; leader's memory {before >> 20} -> at most {most >> 20} MiB")
    # Its caps: the cache, a window of 16 MiB, sockets and their queues; not what was missed.
    within = most - before < cache + 16 * MIB + 32 * MIB
    assert sanitized(cluster.program) or within, f"{before >> 20} -> {most >> 20} MiB"
    stopped.resume()
    flood.stop()
    assert not flood.errors, flood.errors[:3]
    assert leader.number("term") == term, "a stopped follower is no reason for an election"
    cluster.wait_equal(90)


def through_links(cluster):
    """Every node reaches the others through proxies; (links by pair of ids, proxies)."""
    links, proxies = {}, []
    for a in cluster.nodes.values():
        at = []
        for b in cluster.nodes.values():
            if a is b:
                continue
            link = links.setdefault(frozenset((a.id, b.id)), Link())
            proxies.append(Proxy(b.peer_port, link))
            at.append(f"{b.id}=127.0.0.1:{proxies[-1].port}")
        a.peer_at = ",".join(at)
    return links, proxies


def test_a_slow_link_with_large_values_queued_makes_no_election(make_cluster):
    cluster = make_cluster(3, start=False)
    links, proxies = through_links(cluster)
    cluster.start()
    leader = cluster.wait_leader()
    slow = cluster.followers()[0]
    link = links[frozenset((leader.id, slow.id))]
    assert link.passed > 0, "the nodes do not use the addresses of --peer-at"
    term = leader.number("term")
    link.rate = 64 << 10
    with leader.raw() as c:
        for i in range(16):
            assert c.call("SET", f"large:{i}", bytes([97 + i]) * MIB) == "OK"
    until = time.monotonic() + 8
    contact = 0
    while time.monotonic() < until:
        status = slow.status()
        if status is None:
            continue
        assert int(status["term"]) == term, "an election"
        assert status["role"] == "follower" and int(status["leader_id"]) == leader.id, status
        contact = max(contact, int(status["last_contact_ms"]))
        time.sleep(0.05)
    behind = leader.number("last_index") - slow.number("last_index")
    print(f"longest silence {contact} ms; still {behind} entries behind")
    assert leader.number("term") == term
    assert behind > 0, "the link was never slow"
    link.rate = None
    cluster.wait_equal(60)
    with slow.raw() as c:
        value = c.call("GET", "large:3")
        assert not isinstance(value, Error) and value == b"d" * MIB
    for proxy in proxies:
        proxy.close()


def sockets(node):
    """As many as the node has open; files of its log come and go."""
    folder, count = f"/proc/{node.process.pid}/fd", 0
    for name in os.listdir(folder):
        try:
            count += os.readlink(os.path.join(folder, name)).startswith("socket:")
        except FileNotFoundError:
            pass  # closed meanwhile
    return count


def test_connections_that_stand_still_are_good_again_when_they_move(make_cluster):
    """Nothing is closed and nothing passes: whoever is behind them is away, and comes back."""
    cluster = make_cluster(3, start=False)
    links, proxies = through_links(cluster)
    cluster.start()
    leader = cluster.wait_leader()
    away = cluster.followers()[0]
    cluster.wait_equal()
    held = [link for pair, link in links.items() if away.id in pair]
    term, before = leader.number("term"), {n: sockets(n) for n in cluster.nodes.values()}
    passed = [link.passed for link in held]
    for link in held:
        link.moves.clear()
    had = away.number("last_index")
    with leader.raw() as c:
        for i in range(64):  # more than the queues hold
            assert c.call("SET", f"large:{i}", bytes([97 + i % 26]) * MIB) == "OK"
    wait_for(lambda: away.number("leader_id") == 0, "it hears nobody")
    until = time.monotonic() + 5  # several election timeouts
    while time.monotonic() < until:
        assert away.number("last_index") == had
        assert leader.number("term") == term and leader.status()["role"] == "leader"
        time.sleep(0.1)
    for link in held:
        link.moves.set()
    begin = time.monotonic()
    wait_for(lambda: away.number("leader_id") == leader.id, "it hears its leader")
    print(f"it heard its leader after {time.monotonic() - begin:.2f} s")
    cluster.wait_equal(60)
    assert all(link.passed > some for link, some in zip(held, passed))
    assert leader.number("term") == term, "an election"
    wait_for(lambda: all(sockets(n) <= before[n] + 1 for n in before), "no socket is left")
    with away.raw() as c:
        assert c.call("GET", "large:63") == bytes([97 + 63 % 26]) * MIB
    for proxy in proxies:
        proxy.close()
