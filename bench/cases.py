# SPDX-License-Identifier: Apache-2.0
"""The rows of the bench: what is asked of which systems, and what must be reached.

A Case is throughput: every system that takes it is started, loaded and judged alike (systems.py).
A Special is whatever its functions measure (failover.py, rest.py, fair.py). `make bench ONLY=word`
runs the cases whose word it is, else those whose name contains it.
"""
import fair
import failover
import rest


class Target:
    """least or most of a field of a result line; words are for people."""

    def __init__(self, words, field, least=None, most=None):
        self.words, self.field, self.least, self.most = words, field, least, most

    def judge(self, line):
        """(what the line says, whether that is enough); None where the line does not say."""
        value = line.get(self.field)
        if isinstance(value, list):  # a ratio: median, least, most of the rounds
            value = value[0]
        if value is None or not line["conclusive"]:
            return value, None
        return value, ((self.least is None or value >= self.least)
                       and (self.most is None or value <= self.most))


class Either:
    """One of several is enough."""

    def __init__(self, *targets):
        self.targets, self.words = targets, " or ".join(t.words for t in targets)

    def judge(self, line):
        judged = [t.judge(line) for t in self.targets]
        return next((j for wanted in (True, False, None) for j in judged if j[1] is wanted))


def beside(times, system):
    return Target(f">= {times:g} x {system}", f"to_{system}", least=times)


def at_most(words, field, limit):
    return Target(words, field, most=limit)


def at_least(words, field, limit):
    return Target(words, field, least=limit)


class Case:
    """Throughput. systems: who takes part, None for all; quick: who does in the quick form, None
    for the same; rounds: at most so many; needs(case): why it cannot run here, or None."""

    special = False

    def __init__(self, name, word="", **what):
        self.name, self.word = name, word
        self.servers, self.open, self.pipeline, self.command = True, 1, 1, "set"
        self.value, self.nodes, self.keys, self.fill = 256, 3, 100000, False
        self.place, self.idle = "leader", 0
        self.systems, self.quick, self.rounds, self.targets = None, None, None, ()
        self.needs = lambda case: None
        assert set(what) <= set(vars(self)), what
        vars(self).update(what)

    def takes(self, system):
        if system.servers != self.servers:
            return False
        if self.systems is not None:
            return system.name in self.systems
        return system.name != "writers" and (
            system.name != "etcd" or (self.command == "set" and self.pipeline == 1))

    def takes_quick(self, system):
        return self.takes(system) and (self.quick is None or system.name in self.quick)

    def run(self, system, folder, options):
        return system.run(self, folder, options.seconds, options.warm_up)


class Special(Case):
    """measured: a function (case, folder, options) by system; columns: fields and their headings,
    the row's figure first."""

    special = True

    def __init__(self, name, word, measured, columns, label=None, entries=None, **what):
        self.measured, self.columns, self.label, self.entries = measured, columns, label, entries
        self.quick_entries = None
        super().__init__(name, word, **what)

    def takes(self, system):
        return system.servers and system.name in self.measured

    def run(self, system, folder, options):
        return {"system": system.name, **self.measured[system.name](self, folder, options)}


# ---- the table of DESIGN: against the floor and the field ---------------------------------------

MAIN = [
    Case("library, 1 in flight", servers=False, open=1, targets=[
        beside(0.95, "floor"),
        Target("2.9-3.1 flushes", "device_flushes_per_operation", least=2.9, most=3.1)]),
    Case("library, 64 in flight", servers=False, open=64, targets=[
        beside(0.5, "floor"), beside(3.5, "libraft"),
        at_most("<= 8 us", "cpu_us_per_operation", 8), at_most("p99 < 2 ms", "p99_us", 2000)]),
    Case("library, 1000 in flight", servers=False, open=1000,
         systems=("floor", "writers", "kelp", "libraft", "hashicorp"), targets=[
             Either(beside(10, "libraft"), beside(0.5, "writers")),
             at_most("<= 2 us", "cpu_us_per_operation", 2),
             at_most("p99 < 10 ms", "p99_us", 10000)]),
    Case("SET, 1 client", open=1, targets=[beside(0.9, "floor")]),
    Case("SET, 64 clients", open=64, targets=[
        beside(0.8, "redis"), beside(6, "etcd"),
        at_most("<= 20 us", "cpu_us_per_operation", 20)]),
    Case("SET, 64 clients, pipeline 16", open=64, pipeline=16, targets=[
        beside(0.5, "redis"), at_most("<= 6 us", "cpu_us_per_operation", 6)]),
    Case("GET, 64 clients", open=64, command="get", targets=[beside(0.9, "redis")]),
]


def gap_case(heartbeat, election):
    return Special(
        f"failover gap, timers {heartbeat}/{election} ms", "failover",
        {"kelp": failover.of_kelp(heartbeat, election),
         "etcd": failover.of_etcd(heartbeat, election)},
        [("gap_ms", "gap ms"), ("gap_worst_ms", "worst"), ("kills", "kills"),
         ("operations", "writes")],
        targets=[Target("<= etcd's median", "gap_to_etcd", most=1),
                 Target("<= etcd's worst", "gap_worst_to_etcd", most=1)])


FAILOVER = [gap_case(100, 1000), gap_case(50, 500), gap_case(20, 200)]

SIMULATOR = [Special(
    "simulator, 5 nodes", "simulator", {"kelp": rest.simulator},
    [("times_real_time", "x real"), ("per_second", "events/s"),
     ("requests_per_simulated_second", "requests"), ("faults_per_simulated_second", "faults")],
    label="simulator, a core", nodes=5, targets=[
        at_least(">= 1500 x real time", "times_real_time", 1500),
        at_least(">= 300,000 events/s", "per_second", 300000),
        at_least(">= 20 requests a simulated second", "requests_per_simulated_second", 20),
        at_least(">= 1 fault a simulated second", "faults_per_simulated_second", 1)])]


# ---- sweeps: does it grow as it should? ---------------------------------------------------------

OURS = ("kelp", "floor")
ALONE = ("kelp",)
NONE = ()


def sweep(name, word, quick=NONE, systems=OURS, rounds=3, **what):
    return Case(name, word, **{"open": 64, "quick": quick, "systems": systems, "rounds": rounds,
                               **what})


SWEEPS = [
    sweep("values of 16 B", "values", ALONE, ("kelp", "floor", "redis"), value=16),
    sweep("values of 256 B", "values", NONE, ("kelp", "floor", "redis")),
    sweep("values of 4 KiB", "values", NONE, ("kelp", "floor", "redis"), value=4 << 10),
    sweep("values of 64 KiB", "values", ALONE, ("kelp", "floor", "redis"), value=64 << 10,
          keys=1000),
    sweep("1 node", "nodes", ALONE, nodes=1),
    sweep("3 nodes", "nodes"),
    sweep("5 nodes", "nodes", nodes=5),
    sweep("7 nodes", "nodes", ALONE, nodes=7),
    sweep("1 client", "clients", open=1),
    sweep("16 clients", "clients", open=16),
    sweep("64 clients", "clients"),
    sweep("256 clients", "clients", open=256),
    sweep("1000 clients", "clients", ALONE, open=1000),
    sweep("64 busy of 5000 clients", "clients", ALONE, ("kelp", "redis"), idle=4936),
    sweep("1000 clients, GET", "clients", NONE, ("kelp", "redis"), open=1000, command="get"),
    sweep("1 client, pipeline 1", "pipelines", open=1),
    sweep("1 client, pipeline 16", "pipelines", ALONE, open=1, pipeline=16),
    sweep("GET, 1 client, pipeline 16", "pipelines", NONE, ("kelp", "redis"), open=1, pipeline=16,
          command="get"),
    sweep("GET, pipeline 16", "pipelines", ALONE, ("kelp", "redis"), pipeline=16, command="get"),
    *(sweep(f"{keys:,} keys", "keys", ALONE if keys in (1000, 100000) else NONE, keys=keys,
            value=16, pipeline=16, fill=True, rounds=1 if keys > 1000000 else 3,
            needs=rest.room_for_keys) for keys in (10 ** n for n in range(3, 8))),
    sweep("load on the leader", "load", NONE, ALONE),
    sweep("load on a follower", "load", ALONE, ALONE, place="follower"),
    sweep("load spread", "load", ALONE, ALONE, place="spread"),
    Special("log of millions of entries", "log", {"kelp": rest.log_length},
            [("last_to_first", "last/first"), ("first_per_second", "first/s"),
             ("last_per_second", "last/s"), ("first_cpu_us", "first us"),
             ("last_cpu_us", "last us"), ("entries", "entries")],
            entries=5000000, quick_entries=200000, rounds=2,
            targets=[at_least("no slower at the end", "last_to_first", 0.9)]),
]


# ---- at rest, starting, in memory ---------------------------------------------------------------

REST = [
    Special("at rest", "rest", {"kelp": rest.REST_OF_KELP, "etcd": rest.REST_OF_ETCD,
                                "floor": rest.bare_heartbeats},
            [("idle_cpu_percent", "% of core"), ("leader_cpu_percent", "leader"),
             ("follower_cpu_percent", "follower"), ("leader_wakeups", "wake-ups/s"),
             ("follower_wakeups", "follower")],
            targets=[at_most("< 0.2 % of a core", "idle_cpu_percent", 0.2),
                     at_most("<= 1.25 x bare heartbeats", "rest_to_floor", 1.25)]),
    Special("restart and replay", "restart", {"kelp": rest.restart},
            [("replay_seconds", "seconds"), ("entries", "entries"),
             ("entries_per_second", "entries/s"), ("replay_cpu_seconds", "cpu s"),
             ("log_mib", "log MiB"), ("rss_mib", "rss MiB")],
            entries=5000000, quick_entries=200000, rounds=2),
    Special("catch-up of a follower", "catch-up", {"kelp": rest.catch_up},
            [("catch_up_seconds", "seconds"), ("entries", "entries"),
             ("entries_per_second", "entries/s")],
            entries=2000000, quick_entries=100000, rounds=2),
    Special("memory of a connection", "memory",
            {"kelp": rest.per_connection(rest.one_kelp),
             "redis": rest.per_connection(rest.one_redis)},
            [("bytes_per_connection", "bytes"), ("connections", "connections")], rounds=2),
    Special("memory of a key, 22 + 16 bytes", "memory",
            {"kelp": rest.per_key(rest.one_kelp), "redis": rest.per_key(rest.one_redis)},
            [("bytes_per_key", "bytes"), ("keys", "keys")], rounds=2, quick=ALONE),
    Special("memory of an entry in flight, 256 bytes", "memory", {"kelp": rest.per_entry},
            [("bytes_per_entry", "bytes"), ("entries", "entries")], rounds=3),
]


# ---- fair under load ----------------------------------------------------------------------------

FAIR = [
    Special("64 clients while segments roll", "fair", {"kelp": fair.segments_roll},
            [("p999_us", "p99.9 us"), ("p99_us", "p99 us"), ("max_us", "max us"),
             ("per_second", "per s"), ("segments", "segments")], value=1024,
            targets=[at_most("p99.9 < 10 ms", "p999_us", 10000)]),
    Special("64 -> 1000 clients", "fair", {"kelp": fair.more_clients},
            [("many_to_few", "1000/64"), ("per_second_64", "64: per s"),
             ("per_second_1000", "1000: per s"), ("p99_us_1000", "p99 us")], rounds=3,
            targets=[at_least("no cliff: >= 0.9", "many_to_few", 0.9)]),
    Special("a follower slowed a hundredfold", "fair", {"kelp": fair.slow_follower},
            [("slow_to_well", "slow/well"), ("per_second_well", "well/s"),
             ("per_second_slow", "slow/s"), ("p99_us_slow", "p99 us"), ("behind", "behind")],
            rounds=3, targets=[at_least("costs < 10 %", "slow_to_well", 0.9)]),
    Special("flood of 64 KiB values, a client that does not read", "fair", {"kelp": fair.flood},
            [("term_changes", "term changes"), ("mib_per_second", "MiB/s"),
             ("p99_us", "p99 us")], rounds=3,
            targets=[at_most("no election", "term_changes", 0)]),
]

CASES = MAIN + FAILOVER + SIMULATOR + SWEEPS + REST + FAIR


def chosen(only):
    """All cases, those of a word, or else those whose name contains it."""
    return [c for c in CASES if only == c.word] if only in {c.word for c in CASES if c.word} \
        else [c for c in CASES if only in c.name]
