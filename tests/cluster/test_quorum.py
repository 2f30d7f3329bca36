# SPDX-License-Identifier: Apache-2.0
"""Without a quorum every write is answered, in time, and never with a lie."""
import threading
import time

from kelp import ELECTION_MS, Error, Gone, REQUEST_MS, wait_for

SLACK = 2.0  # seconds a busy machine may add
TIMEOUTS = 2 * 2 * ELECTION_MS / 1000  # two election timeouts, at the configured maximum


def test_without_a_quorum_every_write_is_answered(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    followers = cluster.followers()
    answers = {}

    def write(number):
        with leader.raw() as c:
            begin = time.monotonic()
            try:
                answer = c.call("SET", f"quorum:{number}", number)
            except Gone as gone:
                answer = gone
            answers[number] = (answer, time.monotonic() - begin)

    for node in followers:
        node.kill()
    threads = []
    for number in range(40):
        threads.append(threading.Thread(target=write, args=(number,), daemon=True))
        threads[-1].start()
    for thread in threads:
        thread.join(timeout=REQUEST_MS / 1000 + 10)
        assert not thread.is_alive(), "a write is never answered"
    for number, (answer, seconds) in answers.items():
        assert isinstance(answer, Error), f"write {number}: {answer!r} without a quorum"
        assert answer.code in ("UNCERTAIN", "CLUSTERDOWN", "TRYAGAIN"), answer
        assert seconds < REQUEST_MS / 1000 + SLACK, f"{answer} after {seconds:.1f} s"
    assert any(answer.code == "UNCERTAIN" for answer, _ in answers.values()), \
        "writes proposed before the loss was noticed cannot be anything but uncertain"

    wait_for(lambda: leader.status()["role"] != "leader", "the leader steps down")
    for number in range(40, 50):
        write(number)
        answer, seconds = answers[number]
        assert isinstance(answer, Error) and answer.code == "CLUSTERDOWN", answer
        assert seconds < TIMEOUTS + SLACK, f"{answer} after {seconds:.1f} s"
    with leader.raw() as c:
        answer = c.call("GET", "kelp:ready")
        assert isinstance(answer, Error) and answer.code == "CLUSTERDOWN", answer

    for node in followers:
        node.start()
    cluster.wait_leader()
    for number, (answer, _) in answers.items():
        with leader.raw() as c:
            value = c.call("GET", f"quorum:{number}")
        if answer.code == "UNCERTAIN":
            assert value in (None, str(number).encode())
        else:
            assert value is None, f"write {number} was refused ({answer}) and happened"


def test_http_without_a_quorum_says_so(make_cluster):
    import requests
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    base = f"http://127.0.0.1:{leader.http_port}"
    assert requests.get(base + "/readyz", timeout=10).status_code == 200
    for node in cluster.followers():
        node.kill()
    wait_for(lambda: leader.status()["role"] != "leader", "the leader steps down")
    put = requests.put(base + "/v1/kv/k", data=b"v", timeout=15)
    assert put.status_code == 503 and "Retry-After" in put.headers, put.text
    assert requests.get(base + "/readyz", timeout=10).status_code == 503
    assert requests.get(base + "/healthz", timeout=10).status_code == 200
