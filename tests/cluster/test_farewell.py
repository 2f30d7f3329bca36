# SPDX-License-Identifier: Apache-2.0
"""A node that is told to stop: every answer arrives, what is asked too late is refused, and no
connection is reset."""
import signal
import socket
import threading
import time

from kelp import Error, Gone, Raw, encode, wait_for

WRITERS = 6
PIPELINE = 4
LATE = 2000
STARVED = 0.2  # seconds: whoever asks so long after its last answer may find nobody


def told_to_stop(node):
    node.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "stopping: asked to terminate" in node.log(), "it stops", every=0.005)


def ends(connection):
    """Nothing more comes, and it is the end of the stream, not a reset."""
    return connection.file.read() == b""


def refused(answer):
    return isinstance(answer, Error) and answer.startswith("TRYAGAIN SHUTDOWN")


def test_what_comes_too_late_is_refused_and_nothing_is_lost(make_cluster):
    cluster = make_cluster(3, heartbeat_ms=100, election_ms=1000)
    leader = cluster.wait_leader()
    others = cluster.followers()
    with leader.raw() as open_write, leader.raw() as late, leader.raw() as silent:
        for c in (open_write, late, silent):
            assert c.call("PING") == "PONG"
        for node in others:
            node.pause()  # so that it cannot hand over, and takes its time
        last = leader.number("last_index")
        open_write.send("SET", "open", "1")
        wait_for(lambda: leader.number("last_index") > last, "it is in the log")
        told_to_stop(leader)
        open_write.send("SET", "late", "1")
        late.send_bytes(encode("SET", "late", "2") * LATE)
        answer = open_write.read()
        assert isinstance(answer, Error) and answer.code == "UNCERTAIN", answer
        assert refused(open_write.read())
        answers = [late.read() for _ in range(LATE)]
        assert all(refused(a) for a in answers), [a for a in answers if not refused(a)][:3]
        assert ends(open_write) and ends(late) and ends(silent)
    assert leader.process.wait(timeout=10) == 0
    for node in others:
        node.resume()
    after = cluster.wait_leader()
    with after.raw() as c:
        assert c.call("GET", "late") is None


class Writer:
    """Writes through one node until it is refused; counts what was not answered."""

    def __init__(self, node, number):
        self.node, self.number = node, number
        self.ok, self.refused, self.other, self.unanswered = [], [], [], 0
        self.starved = False
        self.end = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        serial, answered = 0, time.monotonic()
        with self.node.raw() as c:
            while not self.refused:
                keys = [f"stop:{self.number}:{serial + i}" for i in range(PIPELINE)]
                serial += PIPELINE
                self.starved = time.monotonic() - answered > STARVED
                try:
                    c.send_bytes(b"".join(encode("SET", key, "v") for key in keys))
                    for i, key in enumerate(keys):
                        self.unanswered = PIPELINE - i
                        self._note(key, c.read())
                    self.unanswered = 0
                except Gone as gone:
                    self.end = str(gone)
                    return
                answered = time.monotonic()
            try:
                self.end = "closed" if ends(c) else "more"
            except OSError as error:
                self.end = str(error)

    def _note(self, key, answer):
        if answer == "OK":
            self.ok.append(key)
        elif refused(answer):
            self.refused.append(key)
        else:
            self.other.append(answer)


def test_writers_on_a_leader_that_stops_hear_of_every_write(make_cluster):
    cluster = make_cluster(3, heartbeat_ms=100, election_ms=1000)
    for _ in range(3):
        leader = cluster.wait_leader()
        writers = [Writer(leader, f"{leader.number('term')}:{i}") for i in range(WRITERS)]
        wait_for(lambda w=writers: min(len(x.ok) for x in w) > 20, "all of them write")
        assert leader.stop() == 0
        for writer in writers:
            writer.thread.join(timeout=20)
            assert not writer.thread.is_alive()
            assert writer.end == "closed", f"{writer.end}, {writer.unanswered} unanswered"
            assert writer.unanswered == 0 or writer.starved, writer.unanswered
            assert not writer.other, writer.other[:3]
        after = cluster.wait_leader(other_than=leader)
        with after.raw() as c:
            for writer in writers:
                values = c.call("MGET", *writer.ok)
                assert None not in values, "an acknowledged write is lost"
                if writer.refused:
                    assert set(c.call("MGET", *writer.refused)) == {None}
        print(f"{sum(len(w.ok) for w in writers)} OK, {sum(len(w.refused) for w in writers)} "
              "refused")
        leader.start()
        cluster.wait_equal()


def test_who_has_shut_its_side_gets_its_whole_answer(make_cluster):
    node = make_cluster(1).nodes[1]
    for halves in range(1, 13):  # some are larger than what the system's buffers take, by a little
        value = b"v" * (halves << 19)
        with node.raw() as c:
            assert c.call("SET", "large", value) == "OK"
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.settimeout(10)
            s.connect(("127.0.0.1", node.client_port))
            s.sendall(encode("GET", "large"))
            s.shutdown(socket.SHUT_WR)
            with s.makefile("rb") as file:
                answer = file.read()
        assert answer == b"$%d\r\n%s\r\n" % (len(value), value), (len(value), len(answer))


def test_who_does_not_close_does_not_keep_a_node(make_cluster):
    cluster = make_cluster(1)
    node = cluster.nodes[1]
    stop, sent = threading.Event(), threading.Event()

    def flood():
        with socket.create_connection(("127.0.0.1", node.client_port), timeout=10) as s:
            try:
                while not stop.is_set():
                    s.sendall(encode("PING") * 1000)  # and never reads
                    sent.set()
            except OSError:
                pass

    thread = threading.Thread(target=flood, daemon=True)
    with Raw(node.client_port) as silent:
        assert silent.call("PING") == "PONG"
        thread.start()
        assert sent.wait(10)
        begin = time.monotonic()
        assert node.stop() == 0
        took = time.monotonic() - begin
        assert ends(silent)
    stop.set()
    thread.join(timeout=20)
    assert not thread.is_alive()
    print(f"it ended within {took:.2f} s")
    assert took < 5
