# SPDX-License-Identifier: Apache-2.0
"""Who was away for long, with much data: a snapshot whose connection is cut ten times goes on where
it was (2 GiB with --long), and who missed five million writes (with --long) joins again under load,
without a pause for the others and without the leader's memory growing beyond its caps."""
import threading
import time

from kelp import Error, rss_bytes, sanitized, wait_for
from proxy import Link, Proxy
from test_travel import metric, shortened

MIB = 1 << 20
CUTS = 10


def fill(node, first, count, value, step):
    """Keys first.. in pipelines of step commands."""
    with node.redis() as r:
        for begin in range(first, first + count, step):
            with r.pipeline(transaction=False) as p:
                for key in range(begin, min(begin + step, first + count)):
                    p.set(f"key-{key}", value)
                p.execute()


def through_proxies(cluster):
    """All links of the cluster: {pair of ids: proxies}."""
    proxies = {}
    for a in cluster.nodes.values():
        at = []
        for b in cluster.nodes.values():
            if a is b:
                continue
            proxy = Proxy(b.peer_port, Link())
            proxies.setdefault(frozenset((a.id, b.id)), []).append(proxy)
            at.append(f"{b.id}=127.0.0.1:{proxy.port}")
        a.peer_at = ",".join(at)
    return proxies


def progress(node):
    """(from, bytes, size) of the snapshot it fetches; None: none."""
    status = node.status()
    if status is None or int(status["fetch_index"]) == 0 or int(status["fetch_size"]) == 0:
        return None
    return int(status["fetch_from"]), int(status["fetch_bytes"]), int(status["fetch_size"])


def test_a_snapshot_goes_on_where_ten_cut_connections_left_it(make_cluster, long_run):
    size = 2048 * MIB if long_run else 40 * MIB
    value = b"v" * (256 << 10 if long_run else 16 << 10)
    keys = size // len(value) + 1
    cluster = make_cluster(3, start=False, segment_bytes=(64 if long_run else 4) * MIB,
                           snapshot_log_bytes=size // 4, snapshot_log_ratio=0,
                           trailing_entries=10, log_hold_bytes=0,
                           snapshot_send_bytes=(128 if long_run else 8) * MIB)
    proxies = through_proxies(cluster)
    cluster.start()
    leader, third = cluster.wait_leader(), cluster.followers()[0]
    had = third.number("last_index")
    third.kill()
    fill(leader, 0, keys, value, 16)
    with leader.raw(timeout=120) as c:
        answer = str(c.call("RAFT", "SNAPSHOT", "NOW"))
        assert answer.startswith("OK"), answer
    shortened(cluster.running(), had + 1)
    wait_for(lambda: leader.number("snapshot_index") >= keys, "a snapshot of everything", 300)
    third.start()
    cuts = []
    while len(cuts) < CUTS:
        seen = wait_for(lambda: progress(third), "it fetches", 120, every=0.002)
        source, got, whole = seen
        if got < whole * (len(cuts) + 1) // (CUTS + 2):
            continue
        assert not cuts or got >= cuts[-1], f"it began anew: {got} bytes after {cuts}"
        for proxy in proxies[frozenset((source, third.id))]:
            proxy.cut()
        cuts.append(got)
    assert whole >= size, f"a snapshot of {whole} bytes"
    wait_for(lambda: metric(third, "kelp_snapshots_fetched_total") == 1, "it has it", 300)
    cluster.wait_equal(300)
    sent = sum(metric(n, "kelp_snapshot_sent_bytes_total") for n in cluster.running())
    print(f"{whole >> 20} MiB, cut at {[c >> 20 for c in cuts]}; {sent / MIB:.1f} MiB were sent")
    # What was under way when a connection ended is sent again: never more than a window.
    assert sent <= whole + CUTS * 4 * MIB
    with third.raw(timeout=60) as c:
        for key in (0, keys // 2, keys - 1):
            assert c.call("GET", f"key-{key}") == value
    for proxy in sum(proxies.values(), []):
        proxy.close()


class Timed:
    """One write after another by each of four connections; how long each took."""

    def __init__(self, node):
        self.node, self.going, self.took, self.errors = node, True, [], []
        self.threads = [threading.Thread(target=self._write, args=(i,), daemon=True)
                        for i in range(4)]
        for thread in self.threads:
            thread.start()

    def _write(self, writer):
        with self.node.raw() as c:
            turn = 0
            while self.going:
                turn += 1
                begin = time.monotonic()
                answer = c.call("SET", f"timed:{writer}:{turn % 1000}", "x" * 64)
                self.took.append((begin, time.monotonic() - begin))
                if answer != "OK":
                    self.errors.append(answer)

    def stop(self):
        self.going = False
        for thread in self.threads:
            thread.join(timeout=30)
            assert not thread.is_alive(), "a writer waits for an answer that never comes"

    def between(self, begin, end):
        """(p99, longest) in milliseconds of what began then, and how many."""
        took = sorted(t for at, t in self.took if begin <= at < end)
        return took[len(took) * 99 // 100] * 1000, took[-1] * 1000, len(took)


def test_who_missed_millions_of_writes_joins_again_under_load(make_cluster, long_run):
    writes = 5000000 if long_run else 100000
    keys = 1000000 if long_run else 50000
    caches = (64 if long_run else 20) * MIB
    cluster = make_cluster(3, segment_bytes=(64 if long_run else 4) * MIB, cache_bytes=caches,
                           snapshot_log_bytes=(64 if long_run else 4) * MIB, snapshot_log_ratio=0,
                           trailing_entries=1000, log_hold_bytes=0)
    leader, third = cluster.wait_leader(), cluster.followers()[0]
    had = third.number("last_index")
    third.kill()
    with leader.redis() as r:
        for begin in range(0, writes, 1000):
            with r.pipeline(transaction=False) as p:
                for i in range(begin, begin + 1000):
                    p.set(f"key-{i % keys}", f"value-{i}-" + "v" * 32)
                p.execute()
    shortened(cluster.running(), had + 1)
    load = Timed(leader)
    wait_for(lambda: len(load.took) > 2000, "a load", 60)
    alone, before = time.monotonic(), rss_bytes(leader.process.pid)
    time.sleep(2)  # the time that is compared, not a wait
    joins, most = time.monotonic(), before
    third.start()
    while True:
        most = max(most, rss_bytes(leader.process.pid))
        applied = (third.status() or {}).get("applied_index")
        if applied is not None and int(applied) >= writes and \
                leader.number("last_index") - third.number("applied_index") < 1000:
            break
        assert time.monotonic() - joins < 300, "it does not come level"
        time.sleep(0.02)
    level = time.monotonic()
    load.stop()
    # One was missing; while the load goes on the log may be shortened past it once more.
    assert metric(third, "kelp_snapshots_fetched_total") >= 1
    assert not load.errors, load.errors[:3]
    quiet, during = load.between(alone, joins), load.between(joins, level)
    print(f"{writes} writes missed, level after {level - joins:.1f} s; a write took "
          f"{quiet[0]:.1f} ms (p99), {quiet[1]:.1f} at most without it, "
          f"{during[0]:.1f} and {during[1]:.1f} meanwhile ({during[2]} writes); "
          f"leader's memory {before >> 20} -> at most {most >> 20} MiB")
    # Its caps: the cache, a window of 16 MiB, what is read and packed of a snapshot, sockets.
    assert sanitized(cluster.program) or most - before < caches + 16 * MIB + 32 * MIB
    cluster.wait_equal(120)
    with third.raw() as c:
        for i in (writes - 1, writes - keys // 2):
            got = c.call("GET", f"key-{i % keys}")
            assert not isinstance(got, Error) and got.startswith(f"value-{i}-".encode())
