# SPDX-License-Identifier: Apache-2.0
"""The tools people already have: redis-cli and redis-benchmark, against any node."""
import shutil
import subprocess

import pytest

from kelp import wait_for

pytestmark = pytest.mark.skipif(shutil.which("redis-benchmark") is None,
                                reason="redis-tools is not installed")


def redis_cli(node, *words, **options):
    return subprocess.run(["redis-cli", "-p", str(node.client_port), *words], text=True,
                          capture_output=True, timeout=60, check=False, **options)


def test_redis_cli_talks_to_every_node(make_cluster):
    cluster = make_cluster(3)
    for node in cluster.nodes.values():
        assert redis_cli(node, "SET", "cli", str(node.id)).stdout == "OK\n"
        assert redis_cli(node, "GET", "cli").stdout.strip() == str(node.id)
        assert redis_cli(node, "INCRBY", "count", "2").stdout.strip() == str(2 * node.id)
        assert "cluster_enabled:1" in redis_cli(node, "INFO").stdout
        assert "commit_index:" in redis_cli(node, "RAFT", "STATUS").stdout
    script = "".join(f"SET s{i} {i}\nGET s{i}\n" for i in range(50))
    out = redis_cli(cluster.nodes[2], input=script).stdout.split()
    assert out == [x for i in range(50) for x in ("OK", str(i))]
    piped = "".join(f"*3\r\n$3\r\nSET\r\n$5\r\np{i:04}\r\n$1\r\nx\r\n" for i in range(1000))
    out = redis_cli(cluster.nodes[3], "--pipe", input=piped)
    assert "errors: 0, replies: 1000" in out.stdout, out.stdout + out.stderr
    scanned = redis_cli(cluster.nodes[1], "--scan", "--pattern", "p0*").stdout.split()
    assert len(scanned) == 1000


@pytest.mark.parametrize("pipeline", [1, 16])
@pytest.mark.parametrize("where", ["leader", "follower"])
def test_redis_benchmark_runs_without_errors(make_cluster, long_run, pipeline, where):
    cluster = make_cluster(3)
    node = cluster.wait_leader() if where == "leader" else cluster.followers()[0]
    term = node.number("term")
    count = 100000 if long_run else 10000
    run = subprocess.run(["redis-benchmark", "-p", str(node.client_port), "-t",
                          "set,get,incr,mset", "-c", "64", "-n", str(count), "-P", str(pipeline),
                          "--csv"], text=True, capture_output=True, timeout=240, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    text = run.stdout + run.stderr
    assert "rror" not in text.replace("WARNING: Could not fetch server CONFIG", ""), text
    rows = [line for line in run.stdout.splitlines() if line.startswith('"') and "test" not in line]
    assert len(rows) == 4, run.stdout
    for row in rows:
        fields = row.replace('"', "").split(",")
        print(f"{where}, pipeline {pipeline}: {fields[0]:24} {float(fields[1]):10.0f}/s")
    wait_for(lambda: cluster.leader(), "there is a leader")
    assert node.number("term") == term, "the load made an election"
    cluster.wait_equal()
