# SPDX-License-Identifier: Apache-2.0
"""HTTP: the same store, the status, and metrics that a scraper can read."""
import re

import pytest
import requests

from kelp import wait_for

NAMES = "version cluster_id epoch node_id incarnation role member priority health term voted_for " \
        "leader_id leader_client leader_since_ms last_contact_ms first_index last_index " \
        "last_term durable_index commit_index applied_index apply_queue snapshot_index " \
        "snapshot_term config_committed config_latest voters witnesses tolerates disk_free_bytes " \
        "sync_p99_us uptime_ms lease lease_left_ms lease_reads lease_refused"


def url(node, path):
    return f"http://127.0.0.1:{node.http_port}{path}"


def test_keys_can_be_read_and_written_through_every_node(make_cluster):
    cluster = make_cluster(3)
    value = bytes(range(256)) * 40
    for node in cluster.nodes.values():
        key = f"http-{node.id}"
        missing = requests.get(url(node, f"/v1/kv/{key}"), timeout=10)
        assert missing.status_code == 404 and missing.json(), missing.text
        put = requests.put(url(node, f"/v1/kv/{key}"), data=value, timeout=10)
        assert put.status_code in (200, 204), put.text
        for other in cluster.nodes.values():
            got = requests.get(url(other, f"/v1/kv/{key}"), timeout=10)
            assert got.status_code == 200 and got.content == value
            with other.raw() as c:
                assert c.call("GET", key) == value
        assert requests.delete(url(node, f"/v1/kv/{key}"), timeout=10).status_code in (200, 204)
        assert requests.get(url(node, f"/v1/kv/{key}"), timeout=10).status_code == 404


def test_status_has_the_names_of_raft_status(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    for node in cluster.nodes.values():
        status = requests.get(url(node, "/v1/status"), timeout=10).json()
        lines = node.status()
        for name in NAMES.split():
            assert name in status and name in lines, name
        assert status["node_id"] == node.id
        assert status["leader_id"] == leader.id == int(lines["leader_id"])
        assert status["cluster_id"] == lines["cluster_id"]
        assert status["epoch"] == lines["epoch"] == "0"  # never recovered
        assert (status["role"] == "leader") == (node is leader)
    with leader.raw() as c:
        text = c.call("RAFT", "STATUS").decode()
    assert len(re.findall(r"^peer_\d+:.*match=\d+", text, re.M)) == 2, text


def test_health_and_readiness(make_cluster):
    cluster = make_cluster(3, start=False)
    cluster.nodes[1].start()
    wait_for(lambda: cluster.nodes[1].status(), "node 1 answers")
    assert requests.get(url(cluster.nodes[1], "/healthz"), timeout=10).status_code == 200
    not_ready = requests.get(url(cluster.nodes[1], "/readyz"), timeout=10)
    assert not_ready.status_code == 503 and len(not_ready.text) > 5, not_ready.text
    cluster.nodes[2].start()
    cluster.nodes[3].start()
    cluster.wait_leader()
    for node in cluster.nodes.values():
        wait_for(lambda n=node: requests.get(url(n, "/readyz"), timeout=10).status_code == 200,
                 "ready")


def test_moved_is_a_redirect(make_cluster):
    cluster = make_cluster(3, on_follower="moved")
    leader = cluster.wait_leader()
    follower = cluster.followers()[0]

    def redirect():
        answer = requests.put(url(follower, "/v1/kv/m"), data=b"1", timeout=10,
                              allow_redirects=False)
        return answer if answer.status_code == 307 else None
    answer = wait_for(redirect, "307")
    assert answer.headers["Location"] == url(leader, "/v1/kv/m")
    assert "X-Kelp-Leader" in answer.headers


def test_a_plan_is_redirected_to_a_plan(make_cluster):
    cluster = make_cluster(3, on_follower="moved")
    leader = cluster.wait_leader()
    follower = cluster.followers()[0]
    with leader.raw() as c:
        assert c.call("SET", "plan", "a user's") == "OK"
    asked = {"verb": "add", "id": "4", "address": "127.0.0.1:1", "nowait": "true"}

    def redirect(method, **words):
        answer = wait_for(lambda: (a := requests.request(
            method, url(follower, "/v1/raft/plan"), timeout=10, allow_redirects=False,
            **words)).status_code == 307 and a, "307")
        return answer.headers["Location"]
    assert redirect("GET", params={"verb": "stop", "id": 2}) == \
        url(leader, "/v1/raft/plan?verb=stop&id=2")
    assert redirect("POST", json={"verb": "stop", "id": 2}) == url(leader, "/v1/raft/plan")
    there = redirect("GET", params=asked)
    assert there == url(leader, "/v1/raft/plan?verb=add&id=4&address=127.0.0.1%3A1&nowait=true")
    for method, words in (("GET", {"params": {"verb": "stop", "id": follower.id}}),
                          ("POST", {"json": {"verb": "stop", "id": follower.id}})):
        page = requests.request(method, url(follower, "/v1/raft/plan"), timeout=10, **words)
        assert page.status_code == 200 and page.json()["may"] == "yes", page.text
    moved = requests.post(url(follower, "/v1/raft/remove"), json={"id": 9}, timeout=10,
                          allow_redirects=False)
    assert moved.headers["Location"] == url(leader, "/v1/raft/remove")


def test_arguments_of_a_plan_are_decoded_and_judged_like_a_body(make_cluster):
    node = make_cluster(1).nodes[1]

    def plan(query, **headers):
        return requests.get(url(node, "/v1/raft/plan?" + query), headers=headers, timeout=10)
    for query in ("verb=move&id=1&address=127.0.0.1%3a7104", "verb=%6dove&id=%31&address=h:7104",
                  "verb=set&members=1%3Dh%3A7104%2Fvoter"):
        assert plan(query).status_code == 200, (query, plan(query).text)
    for query in ("verb=stop&id=1%00", "verb=stop&id=1&id=2", "verb=stop&id=%ff", "verb=stop",
                  "verb=set&members=4=127.0.0.1:9/learner,%ff",
                  "verb=move&id=1&address=127.0.0.1%253a7104", "verb=stop&id=" + "1" * 9000):
        assert plan(query).status_code in (400, 414), (query, plan(query).text)
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200),
                         ("none", 200)):
        assert plan("verb=stop&id=1", **{"Sec-Fetch-Site": site}).status_code == status, site
    page = requests.post(url(node, "/v1/raft/plan"), json={"verb": "stop", "id": 1}, timeout=10,
                         headers={"Origin": "http://elsewhere.example"})
    assert page.status_code == 403 and page.json()["error"] == "FORBIDDEN"


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/nowhere", 404), ("POST", "/healthz", 405), ("PATCH", "/v1/kv/x", 405),
])
def test_wrong_requests_are_answered_in_json(make_cluster, method, path, status):
    node = make_cluster(1).nodes[1]
    answer = requests.request(method, url(node, path), timeout=10)
    assert answer.status_code == status and isinstance(answer.json(), dict), answer.text


LINE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_][a-zA-Z0-9_]*="([^"\\]|\\.)*",?)*\})? '
                  r'(-?[0-9.]+([eE][+-]?[0-9]+)?|[+-]Inf|NaN)$')


def scrape(node):
    """The metrics page by the rules of the text format; {name with labels: value}."""
    page = requests.get(url(node, "/metrics"), timeout=10)
    assert page.status_code == 200 and page.headers["Content-Type"].startswith("text/plain")
    types, values = {}, {}
    for line in page.text.splitlines():
        if line.startswith("# HELP "):
            assert line.endswith(".") and not line.endswith(".."), line
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, f"{name} has two types"
            types[name] = kind
        elif line and not line.startswith("#"):
            found = LINE.match(line)
            assert found, f"no metric: {line!r}"
            base = re.sub(r"_(bucket|sum|count)$", "", found.group(1))
            assert found.group(1) in types or base in types, f"{line!r} has no type"
            full = found.group(1) + (found.group(2) or "")
            assert full not in values, f"{full} is there twice"
            values[full] = float(found.group(5))
    return types, values


def test_metrics_can_be_scraped_and_count(make_cluster):
    cluster = make_cluster(3)
    leader = cluster.wait_leader()
    types, before = scrape(leader)
    assert all(name.startswith("kelp_") for name in types), types
    for name, kind in types.items():
        if kind == "histogram":
            buckets = [(k, v) for k, v in before.items() if k.startswith(name + "_bucket")]
            assert buckets and any('le="+Inf"' in k for k, _ in buckets), name
            assert name + "_count" in before and name + "_sum" in before
            counts = [v for _, v in buckets]
            assert counts == sorted(counts), f"{name} is not cumulative"
    with leader.raw() as c:
        for i in range(100):
            c.call("SET", f"m:{i}", i)
    _, after = scrape(leader)
    grown = {name for name in after if after[name] >= before.get(name, 0) + 100}
    assert types["kelp_uptime_seconds"] == "gauge" and 0 < after["kelp_uptime_seconds"] < 600
    assert not [name for name in types if "millisecond" in name]
    for word in ("commit", "applied", "term"):
        assert any(word in name for name in types), f"no metric about {word}"
    assert any("commit" in name for name in grown) and any("done" in name.lower()
                                                           for name in grown), sorted(grown)
