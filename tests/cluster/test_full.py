# SPDX-License-Identifier: Apache-2.0
"""Disks that fill up: writes are refused in time and by name, everything else goes on, and all of
it passes when there is room again. The disks are small tmpfs mounts."""
import os
import subprocess

import pytest

from kelp import Error, Gone, wait_for

MIB = 1 << 20
SEGMENT = MIB
DISK = 12 * MIB  # several files of the log, and soon full


def mount(*words):
    return subprocess.run(["mount", *words], capture_output=True, text=True, check=False)


@pytest.fixture
def on_small_disks(make_cluster):
    """A cluster of which the named nodes have a small disk each."""
    mounted = []

    def make(count, small):
        cluster = make_cluster(count, start=False, segment_bytes=SEGMENT)
        for number in small:
            data = cluster.nodes[number].data
            os.makedirs(data, mode=0o700)
            run = mount("-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", data)
            if run.returncode != 0:
                pytest.skip(f"cannot mount a tmpfs here: {run.stderr.strip()}")
            mounted.append((cluster, number, data))
        cluster.start()
        return cluster

    yield make
    for cluster, number, data in mounted:
        if cluster.nodes[number].running():
            cluster.nodes[number].kill()
        subprocess.run(["umount", data], check=True)


def resize(node, size):
    assert mount("-o", f"remount,size={size}", node.data).returncode == 0


def fill(node, limit):
    """Writes until one is refused; returns how many were taken, and the refusal."""
    value = b"x" * (64 << 10)
    with node.raw() as c:
        for i in range(limit):
            answer = c.call("SET", f"fill:{i}", value)
            if isinstance(answer, Error):
                return i, answer
            assert answer == "OK"
    return limit, None


def heals(node, words):
    """True once the command is taken; until then it is refused for want of room, or of a leader."""
    try:
        with node.raw() as c:
            answer = c.call(*words)
    except Gone:
        return False
    assert not isinstance(answer, Error) or answer.code in ("NOSPACE", "CLUSTERDOWN", "TRYAGAIN"), \
        answer
    return not isinstance(answer, Error)


def metric(node, name):
    import urllib.request
    with urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/metrics", timeout=5) as page:
        for line in page.read().decode().splitlines():
            if line.startswith(f"kelp_{name} "):
                return int(line.split()[1])
    return None


def test_full_disks_refuse_writes_and_heal(on_small_disks):
    cluster = on_small_disks(3, (1, 2, 3))
    leader = cluster.wait_leader()
    follower = cluster.followers()[0]
    count, error = fill(leader, 1000)
    assert error is not None and error.code == "NOSPACE" and "NO_SPACE" in error, error
    assert count > 40, count  # most of the disk was used
    for node in (leader, follower):
        with node.raw() as c:
            assert c.call("GET", "fill:0") == b"x" * (64 << 10)  # reads go on
            answer = c.call("SET", "more", "1")
            assert isinstance(answer, Error) and answer.code == "NOSPACE", answer
            assert c.call("DEL", f"fill:{node.id}") == 1  # and so does what frees room
    assert metric(leader, "refuses_by_room_level") == 1
    assert metric(leader, "proposals_no_space_total") > 0
    status = leader.status()
    assert status["health"] == "ok" and "disk room" in status["reason"], status
    # As long as there is a file left deletions go on; then they wait too, and still nothing faults.
    with leader.raw() as c:
        for i in range(200000):
            answer = c.call("DEL", *[f"none:{i}:{k}" for k in range(2000)])
            if isinstance(answer, Error):
                break
        assert isinstance(answer, Error) and answer.code == "NOSPACE", answer
        assert c.call("GET", "fill:0") == b"x" * (64 << 10)
    # Leadership may move meanwhile: the next leader's empty entry finds room.
    leader.kill()
    wait_for(lambda: cluster.leader() not in (None, leader), "another leads")
    new = cluster.leader()
    with new.raw() as c:
        wait_for(lambda: c.call("GET", "fill:0") == b"x" * (64 << 10), "reads go on")
    leader.start()  # on a full disk
    wait_for(lambda: leader.number("applied_index") == new.number("applied_index"), "it is back")
    for node in cluster.nodes.values():
        resize(node, 4 * DISK)
    wait_for(lambda: heals(new, ("SET", "healed", "1")), "writes go on")
    for node in cluster.nodes.values():
        wait_for(lambda n=node: (n.status() or {}).get("health") == "ok", "all are well")
        assert "faulted" not in node.log()
    assert "room" in new.log()  # and people were told


def test_one_full_disk_stops_nobody_and_catches_up(on_small_disks):
    cluster = on_small_disks(3, (3,))
    if cluster.wait_leader().id == 3:  # the others' disks are large
        cluster.nodes[3].stop()
        cluster.wait_leader(other_than=cluster.nodes[3])
        cluster.nodes[3].start()
    leader = cluster.wait_leader()
    assert leader.id != 3
    count, error = fill(leader, 400)  # twice what the small disk holds
    assert error is None and count == 400
    small = cluster.nodes[3]
    behind = wait_for(small.status, "it answers")
    assert behind["health"] in ("ok", "loading"), behind
    assert int(behind["last_index"]) < leader.number("last_index")
    assert metric(small, "disk_room_level") == 3
    resize(small, 8 * DISK)
    wait_for(lambda: small.number("applied_index") == leader.number("applied_index"),
             "it catches up")
    assert "faulted" not in small.log()
