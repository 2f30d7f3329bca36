# SPDX-License-Identifier: Apache-2.0
"""A node that does not run is given another member's snapshot: it starts from that, keeps its log
and its vote, and what is wrong for it is refused before a byte changes.

The divergence is a true one: a part of the cluster, started from copies of its directories, goes
on with other commands under the same indexes and terms. Nothing in a log that is checked by itself
shows that, and one member comes back from there."""
import glob
import json
import os
import shutil
import time

from kelp import wait_for
from test_recover import digest

MARK = 256


def snapshots(node):
    return sorted(glob.glob(os.path.join(node.data, "snap", "*.snap")))


def kill_all(cluster):
    """Nobody hands over, so nobody has an entry that the others have not."""
    for node in cluster.nodes.values():
        if node.running():
            node.kill()


def health(node):
    return (node.status() or {}).get("health")


def run_with(cluster, numbers, words, count):
    """Those alone write so much; where all of them stand then, one index and term, or None."""
    nodes = [cluster.nodes[number] for number in numbers]
    for node in nodes:
        node.start()
    with cluster.wait_leader().raw() as c:
        for i in range(count):
            assert c.call("SET", f"key-{i % 50}", f"{words}-{i}") == "OK"
    last = max(node.number("last_index") for node in nodes)
    wait_for(lambda: all(node.number("applied_index") == last for node in nodes), "they are equal")
    terms = {node.number("term") for node in nodes}
    return (last, terms.pop()) if len(terms) == 1 else None


def apart(make_cluster, **settings):
    """Nodes 1 and 2 have one history, node 3 another one, all of the same indexes and terms; none
    runs. Node 3 has a snapshot of what it believes."""
    for _ in range(8):
        cluster = make_cluster(3, snapshot_log_bytes=0, **settings)
        with cluster.wait_leader().raw() as c:
            for i in range(50):
                assert c.call("SET", f"key-{i}", "before") == "OK"
        cluster.wait_equal()
        kill_all(cluster)
        two, three = cluster.nodes[2], cluster.nodes[3]
        aside, copy = two.data + ".right", two.data + ".copy"
        shutil.copytree(two.data, copy)
        right = run_with(cluster, (1, 2), "right", 2 * MARK)
        kill_all(cluster)
        os.rename(two.data, aside)
        os.rename(copy, two.data)
        wrong = run_with(cluster, (2, 3), "wrong", 2 * MARK)
        taken = cluster.kelp("snapshot", "now", at=f"127.0.0.1:{three.client_port}")
        assert taken.returncode == 0, taken.stderr
        kill_all(cluster)
        shutil.rmtree(two.data)
        os.rename(aside, two.data)
        if right == wrong and right is not None:
            return cluster
        cluster.end()  # an election more on one side: the terms tell them apart
    raise AssertionError("the two histories never had the same terms")


def fetch(cluster, node, file, *words, status=0):
    run = cluster.kelp("snapshot", "fetch", "--data", node.data, "--from", file, *words)
    assert run.returncode == status, run.stdout + run.stderr
    return run.stdout if status == 0 else run.stderr


def start_all(cluster):
    for node in cluster.nodes.values():
        node.start()


def writes(cluster, count):
    """So many are acknowledged; whoever led may hand over in the middle of them."""
    done = 0
    deadline = time.monotonic() + 30
    while done < count:
        assert time.monotonic() < deadline, f"{done} of {count} writes"
        with cluster.wait_leader().raw() as c:
            while done < count and c.call("SET", f"after-{done % 50}", done) == "OK":
                done += 1


def right_snapshot(cluster, directory):
    """Of a healthy member, as a file of the operator's own."""
    taken = cluster.kelp("snapshot", "now", at=f"127.0.0.1:{cluster.nodes[1].client_port}")
    assert taken.returncode == 0, taken.stderr
    return shutil.copy(snapshots(cluster.nodes[1])[-1], os.path.join(directory, "right.snap"))


def votes(cluster, node):
    """What both copies of its vote file say."""
    said = cluster.kelp("log", "dump", node.data).stdout.splitlines()
    copies = {line.split(", ", 1)[1] for line in said if line.startswith("vote copy ")}
    assert len(copies) == 1, said
    return copies.pop()


def test_a_member_with_another_history_is_found_out_and_brought_back(make_cluster, tmp_path):
    cluster = apart(make_cluster)
    one, three = cluster.nodes[1], cluster.nodes[3]
    start_all(cluster)
    writes(cluster, 2 * MARK)
    wait_for(lambda: health(three) == "quarantined", "it is found out")
    told = three.status()
    assert "its state" in told["reason"] and "members" in told["reason"]
    with three.raw() as c:
        answer = c.call("GET", "key-1")
        assert getattr(answer, "code", "") == "CLUSTERDOWN", answer
    assert "QUARANTINED" in three.log()
    for node in (one, cluster.nodes[2]):
        assert health(node) == "ok"
    file = right_snapshot(cluster, tmp_path)

    # while it runs it is refused; told without --yes, nothing changes; then it is done
    assert "a node runs on it" in fetch(cluster, three, file, "--yes", status=3)
    three.stop()
    before, vote = digest(three.data), votes(cluster, three)
    assert vote.endswith(", in quarantine")
    said = fetch(cluster, three, file)
    assert "nothing was changed; --yes does it" in said
    assert digest(three.data) == before
    done = json.loads(fetch(cluster, three, file, "--yes", "--json"))
    assert done["fetched"] and done["node"] == 3 and done["removed"] == 1 and done["opened"]
    assert done["state_hash"] == cluster.kelp_json("snapshot", "info", file)["state_hash"]
    assert [os.path.basename(name) for name in snapshots(three)] == [
        f"{done['index']:020}-{done['term']:020}.snap"]
    after = digest(three.data)
    assert after["identity"] == before["identity"]
    assert votes(cluster, three) == vote.replace(", in quarantine", "")

    three.start()
    wait_for(lambda: health(three) == "ok", "it serves again")
    assert three.number("snapshot_index") == done["index"]
    writes(cluster, 2 * MARK)
    cluster.wait_equal()
    assert all(health(node) == "ok" for node in cluster.nodes.values())
    with three.raw() as c:
        assert c.call("GET", "key-1").startswith(b"right-")


def test_its_own_snapshot_brings_the_wrong_state_back_until_it_is_given_another(make_cluster,
                                                                               tmp_path):
    cluster = apart(make_cluster)
    three = cluster.nodes[3]
    for _ in range(2):  # a restart loads the same again
        start_all(cluster)
        writes(cluster, 2 * MARK)
        wait_for(lambda: health(three) == "quarantined", "it is found out")
        file = right_snapshot(cluster, tmp_path)
        kill_all(cluster)
    fetch(cluster, three, file, "--yes")
    start_all(cluster)
    writes(cluster, 2 * MARK)
    cluster.wait_equal()
    time.sleep(0.5)
    assert health(three) == "ok"


def test_a_node_that_runs_is_asked_for_a_new_one(make_cluster):
    cluster = apart(make_cluster)
    one, three = cluster.nodes[1], cluster.nodes[3]
    start_all(cluster)
    writes(cluster, 2 * MARK)
    wait_for(lambda: health(three) == "quarantined", "it is found out")
    wrong = f"127.0.0.1:{three.client_port}"
    three.stop()
    words = ["snapshot", "fetch", "--data", three.data, "--at"]
    before = without_lock(digest(three.data))
    nobody = cluster.kelp(*words, wrong, "--yes")
    assert nobody.returncode == 1, nobody.stdout + nobody.stderr
    told = cluster.kelp(*words, f"127.0.0.1:{one.client_port}")
    assert told.returncode == 0 and "nothing was changed" in told.stdout, told.stderr
    assert without_lock(digest(three.data)) == before
    run = cluster.kelp(*words, f"127.0.0.1:{one.client_port}", "--yes", "--json")
    assert run.returncode == 0, run.stderr
    done = json.loads(run.stdout)
    assert sorted(os.listdir(os.path.join(three.data, "snap"))) == [
        f"{done['index']:020}-{done['term']:020}.snap"]
    three.start()
    writes(cluster, 2 * MARK)
    cluster.wait_equal()
    assert all(health(node) == "ok" for node in cluster.nodes.values())


def without_lock(files):
    """Who held it last stands in there."""
    return {name: content for name, content in files.items() if name != "lock"}


def damage(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1]))


def test_what_is_not_for_it_is_refused_and_nothing_changes(make_cluster, tmp_path):
    cluster, other = make_cluster(1, snapshot_log_bytes=0), make_cluster(1, snapshot_log_bytes=0)
    files = []
    for c in (cluster, other):
        writes(c, 300)
        c.kelp_json("snapshot", "now")
        files.append(shutil.copy(snapshots(c.nodes[1])[0], tmp_path / f"{len(files)}.snap"))
        kill_all(c)
    node = cluster.nodes[1]
    before = without_lock(digest(node.data))
    assert "it is of cluster" in fetch(cluster, node, files[1], "--yes", status=3)
    bad = shutil.copy(files[0], tmp_path / "bad.snap")
    damage(bad, os.path.getsize(bad) - 9)
    assert "checksum" in fetch(cluster, node, bad, "--yes", status=3)
    with open(bad, "r+b") as f:
        f.truncate(1000)
    fetch(cluster, node, bad, "--yes", status=3)
    missing = cluster.kelp("snapshot", "fetch", "--data", node.data, "--from",
                           str(tmp_path / "none"))
    assert missing.returncode == 1 and "No such file" in missing.stderr
    nowhere = cluster.kelp("snapshot", "fetch", "--data", str(tmp_path), "--from", files[0],
                           "--yes")
    assert nowhere.returncode == 1 and "no data directory" in nowhere.stderr, nowhere.stderr
    assert cluster.kelp("snapshot", "fetch", "--data", node.data).returncode == 2
    assert without_lock(digest(node.data)) == before
    assert not os.path.exists(tmp_path / "lock")
    node.start()
    cluster.wait_leader()
    assert node.number("snapshot_index") >= 300


def test_a_directory_whose_own_snapshot_is_damaged_is_mended(make_cluster, tmp_path):
    cluster = make_cluster(3, snapshot_log_bytes=0, trailing_entries=10, snapshots_kept=1,
                           segment_bytes=1 << 20)
    one, three = cluster.nodes[1], cluster.nodes[3]
    for turn in range(2):
        with cluster.wait_leader().redis() as r:
            for _ in range(10):
                with r.pipeline(transaction=False) as p:
                    for i in range(500):
                        p.set(f"key-{i}", "v" * 500)
                    p.execute()
        cluster.wait_equal()
        for node in (one, three):
            taken = cluster.kelp("snapshot", "now", at=f"127.0.0.1:{node.client_port}")
            assert taken.returncode == 0, taken.stderr
    wait_for(lambda: three.number("first_index") > 1, "its log is compacted")
    three.stop()
    [own] = snapshots(three)
    damage(own, 5000)
    file = shutil.copy(snapshots(one)[-1], tmp_path / "right.snap")
    said = fetch(cluster, three, file)
    assert "it does not open: the log starts after" in said
    done = json.loads(fetch(cluster, three, file, "--yes", "--json"))
    assert not done["opened"]
    three.start()
    cluster.wait_equal()
    assert three.number("snapshot_index") == done["index"]
