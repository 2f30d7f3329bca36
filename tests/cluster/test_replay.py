# SPDX-License-Identifier: Apache-2.0
"""What a node says while it replays its log after a start: counted from its snapshot."""
import json
import re
import urllib.error
import urllib.request

from kelp import Error, Gone, wait_for
from test_snapshot import fill

BEHIND = 100_000  # entries behind the snapshot: a replay that can be watched


def lines(text):
    return dict(line.split(":", 1) for line in text.replace("\r", "").split("\n") if ":" in line)


def ready(node):
    """The code and the body of its page."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/readyz", timeout=5) as page:
            return page.status, json.load(page)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def watch(node):
    """All that it told from its start until its replay was done."""
    told = []

    def connected():
        try:
            return node.raw()
        except Gone:
            return None

    with wait_for(connected, "the node listens") as raw:
        while True:
            status = lines(raw.call("RAFT", "STATUS").decode())
            if status["health"] != "loading":
                return told, status
            info = lines(raw.call("INFO", "persistence").decode())
            answer = raw.call("RAFT", "WITH", "any", "GET", "key-1")
            told.append((status, info, answer, ready(node)))


def test_a_replay_counts_from_the_snapshot(make_cluster):
    cluster = make_cluster(1)
    node = cluster.wait_leader()
    fill(node, 20_000, 8)
    snapshot = cluster.kelp_json("snapshot", "now")["index"]
    fill(node, BEHIND, 8)
    told = []
    for _ in range(5):  # one that was too quick to be seen is no failure, all of them are
        node.kill()
        node.start()
        told, done = watch(node)
        if len(told) > 2:
            break
    assert told, "no replay was seen"
    percents = [int(status["replay_percent"]) for status, *_ in told]
    assert percents == sorted(percents) and percents[-1] < 100
    for status, info, answer, (code, page) in told:
        first, last = int(status["replay_from"]), int(status["replay_to"])
        assert first == snapshot < last
        applied = int(status["applied_index"])  # at the machine: it may be a batch ahead
        assert 0 <= (applied - first) * 100 // (last - first) - int(status["replay_percent"]) <= 2
        assert status["reason"].startswith(f"replaying the log from {first} to {last}: ")
        if info["loading"] == "1":
            assert int(info["loading_loaded_perc"]) >= int(status["replay_percent"])
        if isinstance(answer, Error) and answer.code == "LOADING":
            assert re.fullmatch(r"LOADING \d{1,2}%(, \d+ s left)?", str(answer)), answer
        if page.get("error") == "LOADING":
            assert code == 503 and "replaying the log from " in page["message"]
    assert done["replay_percent"] == "100" and done["replay_to"] == "0"
    assert int(done["applied_index"]) >= BEHIND
