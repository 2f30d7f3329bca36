# SPDX-License-Identifier: Apache-2.0
"""The last writes of a real log, cut off byte by byte.

A torn tail is cut and the node starts with everything before it. Damage that a later write proves
to have been durable stops the start instead, naming the file.
"""
import os
import re
import shutil

import pytest

from kelp import wait_for

KEYS = 12


@pytest.fixture
def stored(make_cluster):
    """A node that was killed after KEYS writes, each on its own; its writes and idle marks."""
    cluster = make_cluster(1, segment_bytes=1 << 20)
    node = cluster.nodes[1]
    with node.raw() as c:
        for i in range(KEYS):
            assert c.call("SET", f"torn:{i}", "x" * (100 + i)) == "OK"
    wait_for(lambda: node.dump()[1].rstrip().splitlines() and
             re.findall(r"^  mark (\d+) at", node.dump()[1], re.M), "the idle log gets its mark")
    node.kill()
    status, text = node.dump()
    assert status == 0, text
    writes, segment = [], None
    for line in text.splitlines():
        head = re.match(r"^(log/\S+): segment", line)
        if head:
            segment = head.group(1)
        found = re.match(r"^  write (\d+) at (\d+): (\d+) bytes", line)
        if found and segment:
            number, offset, size = map(int, found.groups())
            writes.append((segment, offset, size, number))
    assert len(writes) > KEYS
    shutil.copytree(node.data, node.data + ".good")
    return node, writes


def restore(node):
    if node.running():
        node.kill()
    shutil.rmtree(node.data)
    shutil.copytree(node.data + ".good", node.data)


def zero(node, name, begin, end=None):
    """Zeros from begin to end; to the end of the file, if it is not given: a torn tail."""
    path = os.path.join(node.data, name)
    with open(path, "r+b") as f:
        size = os.path.getsize(path)
        f.seek(begin)
        f.write(b"\0" * ((end if end is not None else size) - begin))


def keys_there(node):
    def answers():
        with node.raw() as c:
            values = c.call("MGET", *[f"torn:{i}" for i in range(KEYS + 2)])
        return values if isinstance(values, list) else None
    wait_for(lambda: node.running() and node.cluster.leader(), "it leads again")
    values = wait_for(answers, "it answers")
    there = [i for i, value in enumerate(values) if value is not None]
    assert there == list(range(len(there))), f"holes: {there}"
    for i in there:
        assert values[i] == b"x" * (100 + i)
    return len(there)


def cuts(first, last, long_run):
    """Every byte from first to last in a long run, else the interesting ones."""
    if long_run:
        return list(range(first, last + 1))
    near = [first, first + 1, first + 7, first + 8, first + 60, last - 9, last - 8, last - 1, last]
    step = max(1, (last - first) // 4)
    return sorted({c for c in near + list(range(first, last, step)) if first <= c <= last})


@pytest.mark.parametrize("which", [-1, -2])
def test_a_torn_tail_is_cut_and_everything_before_it_is_there(stored, long_run, which):
    node, writes = stored
    segment, offset, size, _ = writes[which]
    intact = KEYS + which  # keys whose writes lie before the damaged one
    for cut in cuts(offset, offset + size, long_run):
        restore(node)
        zero(node, segment, cut)
        node.start()
        there = keys_there(node)
        whole = cut >= offset + size  # then only the mark behind it is gone
        assert there == intact + whole, f"cut at {cut - offset} of {size}: {there} keys"
        with node.raw() as c:
            assert c.call("SET", f"torn:{there}", "x" * (100 + there)) == "OK"
        node.kill()
        node.start()
        assert keys_there(node) == there + 1, f"after a second start, cut at {cut}"
        node.kill()


def test_damage_in_a_proved_write_stops_the_start(stored, long_run):
    node, writes = stored
    for which in (-1, -2):
        segment, offset, size, _ = writes[which]
        middle = offset + size // 2
        places = range(offset, offset + size, 1 if long_run else 40)
        for place in places if long_run else (offset, offset + 8, middle, offset + size - 2):
            restore(node)
            path = os.path.join(node.data, segment)
            with open(path, "r+b") as f:
                f.seek(place)
                byte = f.read(1)
                f.seek(place)
                f.write(bytes([byte[0] ^ 0x40]))
            before = len(node.log())
            node.start()
            assert node.wait_exit() == 3, f"byte {place - offset} of {size}: {node.log_tail()}"
            said = node.log()[before:]
            assert os.path.basename(segment) in said, said
            assert node.dump()[0] == 1, "the dump shows the damage"


def test_a_log_file_that_is_gone_stops_the_start(stored):
    node, writes = stored
    restore(node)
    os.unlink(os.path.join(node.data, writes[0][0]))
    node.start()
    assert node.wait_exit() == 3, node.log_tail()
