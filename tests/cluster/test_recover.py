# SPDX-License-Identifier: Apache-2.0
"""Recovery by hand: a cluster whose quorum is gone goes on from one disk, and nothing of the past
comes back."""
import hashlib
import json
import os
import shutil
import socket
import threading
import time

from kelp import Error, Gone, free_ports, wait_for


def digest(directory):
    """Names and bytes of all there is below a directory."""
    found = {}
    for root, _, files in os.walk(directory):
        for name in files:
            path = os.path.join(root, name)
            with open(path, "rb") as f:
                found[os.path.relpath(path, directory)] = hashlib.sha256(f.read()).hexdigest()
    return found


def write(cluster, first, last):
    with cluster.wait_leader().raw() as c:
        for i in range(first, last + 1):
            assert c.call("SET", f"k{i}", f"v{i}") == "OK"


def reads_back(node, first, last):
    with node.raw() as c:
        for i in range(first, last + 1):
            assert c.call("GET", f"k{i}") == f"v{i}".encode()


def recover(cluster, *words, status=0):
    run = cluster.kelp("recover", *words)
    assert run.returncode == status, run.stdout + run.stderr
    return run.stdout if status == 0 else run.stderr


def address(node):
    return f"127.0.0.1:{node.peer_port}"


def lose(cluster, *lost):
    """Kills everybody; the disks of the lost ones are set aside. Returns where they are."""
    aside = {}
    for node in cluster.nodes.values():
        if node.running():
            node.kill()
    for node in lost:
        aside[node] = node.data + ".lost"
        os.rename(node.data, aside[node])
    return aside


def fields(text):
    return [line.split()[0] for line in text.splitlines() if line.startswith("  ")]


def leads(node):
    """A write goes through it."""
    def found():
        try:
            with node.raw(timeout=3) as c:
                return c.call("SET", "kelp:ready", "1") == "OK"
        except Gone:
            return False
    wait_for(found, f"node {node.id} leads")


def test_two_of_three_disks_are_lost_and_the_third_goes_on(make_cluster):
    cluster = make_cluster(3)
    write(cluster, 1, 50)
    cluster.wait_equal()
    one, two, three = (cluster.nodes[i] for i in (1, 2, 3))
    lost = lose(cluster, one, two)
    before = digest(three.data)
    told = recover(cluster, "--data", three.data, "--members", f"3={address(three)}")
    assert "nothing was changed; --yes does it" in told
    named = [field for field in fields(told) if field != "uncertain"]
    assert named == ["log", "members", "members", "left", "lost", "first"]
    assert digest(three.data) == before, "a dry run changed something"
    done = recover(cluster, "--data", three.data, "--members", "3", "--yes")
    assert "done: token 1." in done
    again = recover(cluster, "--data", three.data, "--members", "3", "--yes")
    assert "nothing is left to be done" in again
    three.start()
    leads(three)
    reads_back(three, 1, 50)
    with three.raw() as c:
        assert c.call("SET", "after", "1") == "OK"

    # The lost ones come back with what their disks held: refused, and nothing changes.
    for node in (one, two):
        os.rename(lost[node], node.data)
        node.start()
    wait_for(lambda: all("is of before recovery 1" in n.log() for n in (one, two)),
             "both are told")
    for node in (one, two):
        wait_for(lambda n=node: (n.status() or {}).get("health", "").startswith("faulted"),
                 f"node {node.id} serves no more")
        with node.raw() as c:
            answer = c.call("SET", "k1", "of the past")
            assert isinstance(answer, Error), answer
    reads_back(three, 1, 50)
    assert three.status()["role"] == "leader"
    for node in (one, two):
        node.kill()

    # They come back as what they are: new members.
    cluster.founders = []
    for node, new in ((one, 4), (two, 5)):
        node.empty_directory()
        node.id_flag, node.join = "auto", address(three)
        node.start()
        added = wait_for(lambda: cluster.kelp("members", "add", "auto", address(node),
                                              at=f"127.0.0.1:{three.client_port}"),
                         "it is added")
        assert added.returncode == 0, added.stderr
        assert f"id={new}" in added.stdout
    cluster.wait_equal()
    reads_back(one, 1, 50)
    # in the epoch of the recovered cluster, also after another start
    one.kill()
    one.start()
    cluster.wait_equal()
    epoch = done.split("token ")[1].split("-")[0]
    assert f"epoch {epoch}" in one.dump()[1]
    assert one.status()["epoch"] == three.status()["epoch"] == epoch
    assert "  recovered behind" in three.dump()[1]
    assert cluster.crash_reports() == []


def test_what_only_a_disk_that_is_found_again_holds_can_be_read(make_cluster):
    cluster = make_cluster(3)
    write(cluster, 1, 5)
    cluster.wait_equal()
    one, two, three = (cluster.nodes[i] for i in (1, 2, 3))
    three.kill()
    write(cluster, 6, 10)  # acknowledged without node 3
    lost = lose(cluster, one, two)
    recover(cluster, "--data", three.data, "--members", "3", "--yes")
    cluster.founders = []
    three.start()
    leads(three)
    with three.raw() as c:
        assert c.call("GET", "k5") == b"v5" and c.call("GET", "k6") is None
    shutil.copytree(lost[one], one.data)
    one.client_port, one.peer_port, one.http_port = free_ports(3)
    recover(cluster, "--data", one.data, "--members", f"1={address(one)}", "--yes", status=1)
    recover(cluster, "--data", one.data, "--members", f"1={address(one)}", "--yes",
            "--though-running")
    one.start()
    leads(one)
    reads_back(one, 1, 10)
    leads(three)
    with three.raw() as c:
        assert c.call("GET", "k6") is None


def test_where_a_majority_is_left_nothing_is_to_be_recovered(make_cluster):
    cluster = make_cluster(3)
    write(cluster, 1, 5)
    cluster.wait_equal()
    one, two, three = (cluster.nodes[i] for i in (1, 2, 3))
    lose(cluster, three)
    table = cluster.kelp_json("recover", "--compare", one.data, two.data)
    assert table["quorum"] is True and table["absent"] == [3]
    assert "start them as they are" in recover(cluster, "--compare", one.data, two.data)
    one.start()
    two.start()
    reads_back(cluster.wait_leader(), 1, 5)


def test_two_of_five_are_left_and_the_one_that_knows_more_is_chosen(make_cluster):
    cluster = make_cluster(5)
    write(cluster, 1, 20)
    cluster.wait_equal()
    leader = cluster.wait_leader()
    behind, ahead = [n for n in cluster.nodes.values() if n is not leader][:2]
    behind.kill()
    write(cluster, 21, 30)
    cluster.wait_equal()
    lose(cluster, *[n for n in cluster.nodes.values() if n not in (behind, ahead)])
    before = digest(behind.data), digest(ahead.data)
    table = cluster.kelp_json("recover", "--compare", behind.data, ahead.data)
    assert (digest(behind.data), digest(ahead.data)) == before
    assert table["choose"] == ahead.data
    assert len(table["absent"]) == 3
    assert [row["node"] for row in table["survivors"]] == [behind.id, ahead.id]
    words = recover(cluster, "--compare", behind.data, ahead.data)
    assert f"choose {ahead.data}" in words and "is in none of these directories" in words
    assert table["quorum"] is False
    both = f"{behind.id},{ahead.id}"
    plan = cluster.kelp_json("recover", "--data", ahead.data, "--members", both, "--yes")
    error = recover(cluster, "--data", behind.data, "--members", both, "--with", plan["token"],
                    "--yes", status=3)
    assert "not known to agree" in error
    behind.start()  # it was not changed: still a node of the past
    ahead.start()
    wait_for(lambda: "is of before recovery 1" in behind.log(), "it is refused")
    with ahead.raw() as c:
        assert isinstance(c.call("SET", "k", "v"), Error), "one of two is no majority"
    behind.kill()
    ahead.kill()
    recover(cluster, "--data", ahead.data, "--members", str(ahead.id), "--yes")
    ahead.start()
    leads(ahead)
    reads_back(ahead, 1, 30)
    assert ahead.status()["epoch"].startswith("2.")


def test_two_survivors_of_one_log_take_part_with_the_token(make_cluster):
    cluster = make_cluster(5)
    write(cluster, 1, 30)
    cluster.wait_equal()
    one, two = cluster.nodes[1], cluster.nodes[2]
    for node in cluster.nodes.values():
        node.pause()
    lose(cluster, *[cluster.nodes[i] for i in (3, 4, 5)])
    rows = cluster.kelp_json("recover", "--compare", one.data, two.data)["survivors"]
    assert rows[0]["last_index"] == rows[1]["last_index"]
    both = f"1={address(one)},2={address(two)}"
    plan = cluster.kelp_json("recover", "--data", one.data, "--members", both, "--yes")
    other = cluster.kelp_json("recover", "--data", two.data, "--members", both, "--with",
                              plan["token"], "--yes")
    assert other["token"] == plan["token"] and other["epoch"] == plan["epoch"]
    cluster.founders = []
    one.start()
    two.start()
    leader = cluster.wait_leader()
    reads_back(leader, 1, 30)
    write(cluster, 31, 40)
    cluster.wait_equal()
    one.kill()
    two.kill()
    one.start()
    two.start()
    reads_back(cluster.wait_leader(), 31, 40)


def test_survivors_recovered_apart_never_meet(make_cluster):
    cluster = make_cluster(3)
    write(cluster, 1, 10)
    cluster.wait_equal()
    one, two = cluster.nodes[1], cluster.nodes[2]
    lose(cluster, cluster.nodes[3])
    recover(cluster, "--data", one.data, "--members", "1,2", "--yes")
    recover(cluster, "--data", two.data, "--members", "1,2", "--yes")
    one.start()
    two.start()
    wait_for(lambda: "were recovered apart" in one.log() + two.log(), "they are told")
    for node in (one, two):
        with node.raw() as c:
            assert isinstance(c.call("SET", "k", "v"), Error)
    one.kill()
    two.kill()
    error = recover(cluster, "--compare", one.data, two.data, status=1)
    assert "recovered apart" in error


def test_a_cluster_that_lives_is_not_recovered(make_cluster):
    cluster = make_cluster(3)
    write(cluster, 1, 5)
    cluster.wait_equal()
    three = cluster.nodes[3]
    running = recover(cluster, "--data", three.data, "--members", "3", "--yes", status=3)
    assert "a node runs on it" in running and "stop it first" in running
    three.kill()
    before = digest(three.data)
    error = recover(cluster, "--data", three.data, "--members", "3", "--yes", status=1)
    assert "node 1 of this cluster still runs" in error and "node 2 of this" in error
    assert digest(three.data) == before
    cluster.nodes[1].kill()
    cluster.nodes[2].pause()
    silent = recover(cluster, "--data", three.data, "--members", "3", "--yes", status=1)
    assert "says nothing" in silent
    cluster.nodes[2].resume()
    three.start()
    cluster.wait_leader()


def test_a_running_member_of_the_past_is_told_and_serves_no_more(make_cluster):
    cluster = make_cluster(3)
    write(cluster, 1, 5)
    cluster.wait_equal()
    three = cluster.nodes[3]
    three.kill()
    recover(cluster, "--data", three.data, "--members", "3", "--yes", "--though-running")
    three.start()
    leads(three)
    for node in (cluster.nodes[1], cluster.nodes[2]):
        wait_for(lambda n=node: (n.status() or {}).get("health", "").startswith("faulted"),
                 f"node {node.id} serves no more")
    reads_back(three, 1, 5)


class Impostor:
    """Takes the connections of a node that is gone; hangs up, or says nothing."""

    def __init__(self, port, hangs_up):
        self.taken, self.hangs_up = [], hangs_up
        self.listener = socket.create_server(("127.0.0.1", port))
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                taken, _ = self.listener.accept()
            except OSError:
                return
            if self.hangs_up:
                taken.close()
            else:
                self.taken.append(taken)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        for taken in self.taken:
            taken.close()


def test_all_addresses_are_asked_at_once_and_none_is_taken_for_empty(make_cluster):
    cluster = make_cluster(5)
    write(cluster, 1, 5)
    cluster.wait_equal()
    one, others = cluster.nodes[1], [cluster.nodes[i] for i in range(2, 6)]
    lose(cluster, *others)
    before = digest(one.data)
    there = [Impostor(node.peer_port, node is others[0]) for node in others]
    begun = time.monotonic()
    error = recover(cluster, "--data", one.data, "--members", "1", "--yes", status=1)
    took = time.monotonic() - begun
    for impostor in there:
        impostor.close()
    assert error.count("says nothing") == 3 and error.count("hangs up") == 1, error
    assert took < 5.5, f"one after the other? {took:.1f} s"
    assert digest(one.data) == before
    recover(cluster, "--data", one.data, "--members", "1", "--yes")


def test_a_copy_of_a_directory_in_use_is_not_recovered(make_cluster, tmp_path):
    cluster = make_cluster(3)
    write(cluster, 1, 5)
    cluster.wait_equal()
    three = cluster.nodes[3]
    lose(cluster, cluster.nodes[1], cluster.nodes[2])
    copy = str(tmp_path / "copy")
    shutil.copytree(three.data, copy)
    three.start()
    wait_for(lambda: three.status(), "it runs")
    before = digest(copy)
    error = recover(cluster, "--data", copy, "--members", "3", "--yes", status=1)
    assert "node 3 runs at" in error and "a copy?" in error
    assert digest(copy) == before


def test_who_takes_part_asks_again_whether_the_past_still_runs(make_cluster):
    cluster = make_cluster(5)
    write(cluster, 1, 5)
    cluster.wait_equal()
    one, two, three = (cluster.nodes[i] for i in (1, 2, 3))
    for node in cluster.nodes.values():
        node.pause()
    lose(cluster, cluster.nodes[4], cluster.nodes[5])
    plan = cluster.kelp_json("recover", "--data", one.data, "--members", "1,2", "--yes")
    three.start()
    wait_for(lambda: three.status(), "it runs")
    words = ["--data", two.data, "--members", "1,2", "--with", plan["token"], "--yes"]
    assert "node 3 of this cluster still runs" in recover(cluster, *words, status=1)
    three.kill()
    one.start()  # of the same recovery: it may run
    wait_for(lambda: one.status(), "it runs")
    assert "done: token" in recover(cluster, *words)
    two.start()
    reads_back(cluster.wait_leader(), 1, 5)


def test_one_of_two_voters_does_not_say_that_nothing_is_lost(make_cluster):
    """The other may have added a third without it [4.1], and acknowledged more with that one."""
    cluster = make_cluster(2)
    write(cluster, 1, 5)
    cluster.wait_equal()
    lose(cluster, cluster.nodes[1])
    words = ["--data", cluster.nodes[2].data, "--members", "2"]
    assert cluster.kelp_json("recover", *words)["may_lose"] is True
    assert "what the others acknowledged" in recover(cluster, *words)
    recover(cluster, *words, "--yes")
    cluster.nodes[2].start()
    leads(cluster.nodes[2])
    cluster.nodes[2].kill()  # the only voter now: nothing was ever acknowledged without it
    assert cluster.kelp_json("recover", *words)["may_lose"] is False


def test_nothing_is_chosen_while_a_directory_is_closed(make_cluster, tmp_path):
    cluster = make_cluster(3)
    write(cluster, 1, 5)
    cluster.wait_equal()
    one, two, three = (cluster.nodes[i] for i in (1, 2, 3))
    three.kill()
    write(cluster, 6, 10)
    two.kill()
    compared = ["--compare", one.data, three.data]
    error = recover(cluster, *compared, status=1)  # node 1 runs, and holds more
    assert "not all of them could be looked at" in error
    assert cluster.kelp("recover", "--json", *compared).returncode == 1
    one.kill()
    error = recover(cluster, *compared, str(tmp_path / "typo"), status=1)
    assert "not all of them could be looked at" in error
    recover(cluster, *compared)
    with open(os.path.join(one.data, "identity"), "r+b") as f:
        f.write(b"\0" * 8192)
    words = recover(cluster, *compared)  # nothing helps it: the other one is chosen
    assert f"choose {three.data}" in words and f"{one.data} cannot be used" in words


def test_a_witness_tells_what_no_disk_here_holds(make_cluster):
    cluster = make_cluster(3, founders=2)
    run = wait_for(lambda: cluster.kelp("members", "add", "3", address(cluster.nodes[3]),
                                        "witness"), "it is added")
    assert run.returncode == 0, run.stderr
    one, two, witness = (cluster.nodes[i] for i in (1, 2, 3))
    write(cluster, 1, 5)
    two.kill()
    write(cluster, 6, 10)  # on node 1 and the witness
    lose(cluster, one)
    table = cluster.kelp_json("recover", "--compare", two.data, witness.data)
    assert table["quorum"] is False, "two of three votes, and none of them wins an election"
    assert table["choose"] == two.data and table["beyond"]["witness"] == 3
    chosen = [row for row in table["survivors"] if row["node"] == 2][0]
    assert table["beyond"]["last_index"] >= chosen["last_index"] + 5
    words = recover(cluster, "--compare", two.data, witness.data)
    assert "node 3, a witness, has seen entries up to" in words
    assert "start them as they are" not in words
    os.rename(one.data + ".lost", one.data)
    table = cluster.kelp_json("recover", "--compare", one.data, witness.data)
    assert table["quorum"] is True and table["beyond"] is None


def test_what_is_wrong_is_said_and_nothing_is_changed(make_cluster, tmp_path):
    cluster = make_cluster(3)
    write(cluster, 1, 5)
    cluster.wait_equal()
    three = cluster.nodes[3]
    lose(cluster, cluster.nodes[1], cluster.nodes[2])
    before = digest(three.data)

    def said(status, *words):
        return recover(cluster, *words, status=status)

    empty = tmp_path / "empty"
    empty.mkdir()
    assert "this is no data directory" in said(1, "--data", str(empty), "--members", "3")
    assert list(empty.iterdir()) == []
    assert "No such file" in said(1, "--data", str(tmp_path / "none"), "--members", "3")
    assert not (tmp_path / "none").exists()
    data = ["--data", three.data]
    assert "needs --data" in said(2, "--members", "3")
    assert "needs --members" in said(2, *data)
    assert "ID=HOST:PORT" in said(2, *data, "--members", "3=nowhere")
    assert "role must be" in said(2, *data, "--members", "3/king")
    assert "must be a voter" in said(2, *data, "--members", "1")
    assert "node 9 is no member" in said(2, *data, "--members", "3,9")
    assert "must be the token" in said(2, *data, "--members", "3", "--with", "1.1")
    listed = tmp_path / "members.json"
    for content, words in (
            ("[", "line 1"),
            ("{}", "must be an array of members"),
            ("[]", "names 0 members"),
            ('[{"id": "3", "address": "x"}]', 'entry 1: "address" must be HOST:PORT'),
            ('[{"id": "0", "address": "a:1"}]', 'entry 1: "id"'),
            ('["127.0.0.1:1", 7]', "entry 2: must be {"),
            ('["127.0.0.1:1"]', "is no member's address"),
            ('[{"id": "3", "address": "a:1", "non_voter": 1}]', '"non_voter" must be')):
        listed.write_text(content)
        assert words in said(2, *data, "--members-file", str(listed)), content
    damaged = str(tmp_path / "damaged")
    shutil.copytree(three.data, damaged)
    with open(os.path.join(damaged, "identity"), "r+b") as f:
        f.write(b"\0" * 8192)
    assert "both copies are damaged" in said(3, "--data", damaged, "--members", "3", "--yes")
    assert digest(three.data) == before


def test_lists_of_members_are_read_in_both_forms_and_written_in_the_first(make_cluster, tmp_path):
    cluster = make_cluster(3)
    write(cluster, 1, 5)
    cluster.wait_equal()
    written = tmp_path / "all.json"
    listed = cluster.kelp_json("members")
    assert all({"id", "address", "non_voter"} <= set(m) for m in listed["members"])
    assert [m["non_voter"] for m in listed["members"]] == [False, False, False]
    written.write_text(json.dumps(listed))
    three = cluster.nodes[3]
    lose(cluster, cluster.nodes[1], cluster.nodes[2])
    plan = cluster.kelp_json("recover", "--data", three.data, "--members-file", str(written))
    assert [m["id"] for m in plan["members"]] == ["1", "2", "3"]
    other = tmp_path / "old.json"
    other.write_text(json.dumps([address(three)]))
    plan = cluster.kelp_json("recover", "--data", three.data, "--members-file", str(other))
    assert [m["id"] for m in plan["members"]] == ["3"] and not plan["recovered"]
    first = tmp_path / "first.json"
    first.write_text(json.dumps(
        [{"id": "3", "address": address(three), "non_voter": False},
         {"id": 1, "address": address(cluster.nodes[1]), "non_voter": True}]))
    plan = cluster.kelp_json("recover", "--data", three.data, "--members-file", str(first),
                             "--yes")
    assert plan["recovered"] and plan["recovery"] == 1
    assert [m["non_voter"] for m in plan["members"]] == [True, False]
    three.start()
    leads(three)


def test_a_witness_has_nothing_to_recover_from(make_cluster):
    cluster = make_cluster(3, founders=2)
    run = wait_for(lambda: cluster.kelp("members", "add", "3", address(cluster.nodes[3]),
                                        "witness"), "it is added")
    assert run.returncode == 0, run.stderr
    write(cluster, 1, 5)
    wait_for(lambda: (cluster.nodes[3].number("last_index") or 0) > 3, "the witness follows")
    lose(cluster, cluster.nodes[1])
    error = recover(cluster, "--data", cluster.nodes[3].data, "--members", "3", status=3)
    assert "a witness" in error
    told = recover(cluster, "--data", cluster.nodes[2].data, "--members", "2", "--yes")
    assert "done: token" in told
    cluster.nodes[2].start()
    leads(cluster.nodes[2])
    reads_back(cluster.nodes[2], 1, 5)


def test_a_compacted_log_is_recovered_from_its_snapshot(make_cluster):
    """And at another address: the machine that was left is in another network now."""
    cluster = make_cluster(3, trailing_entries=8)
    write(cluster, 1, 60)
    cluster.wait_equal()
    three = cluster.nodes[3]
    for _ in range(2):  # two snapshots are kept, and the log behind the older one
        at = f"127.0.0.1:{three.client_port}"
        assert cluster.kelp("snapshot", "now", at=at).returncode == 0
        write(cluster, 61, 90)
        cluster.wait_equal()
    wait_for(lambda: three.number("first_index") > 1, "the log is compacted")
    lose(cluster, cluster.nodes[1], cluster.nodes[2])
    three.peer_port = free_ports(1)[0]
    plan = cluster.kelp_json("recover", "--data", three.data, "--members",
                             f"3={address(three)}", "--yes")
    assert [m["address"] for m in plan["members"]] == [address(three)]
    cluster.founders = []
    three.start()
    leads(three)
    reads_back(three, 1, 90)
    one = cluster.nodes[1]
    one.id_flag, one.join = "auto", address(three)
    one.start()  # an empty directory, which gets the snapshot
    added = cluster.kelp("members", "add", "auto", address(one),
                         at=f"127.0.0.1:{three.client_port}")
    assert added.returncode == 0, added.stderr
    cluster.wait_equal()
    reads_back(one, 1, 90)
    assert one.number("first_index") > 1
    one.kill()
    one.start()
    cluster.wait_equal()
