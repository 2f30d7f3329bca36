# SPDX-License-Identifier: Apache-2.0
"""Options and fixtures of the tests with real processes.

`make_cluster(3)` gives a started cluster in a temporary directory, with short timers and small
segments; whatever it started ends with the test. When a test fails, the tails of the nodes' logs
are shown. KELP_LONG=1 or --long runs everything at full length.

The directory of a test that passed is removed, those of the others are kept: together they would
be gigabytes.
"""
import os
import shutil
import sys

sys.dont_write_bytecode = True

import pytest

import kelp


def pytest_addoption(parser):
    parser.addoption("--kelp", default=os.environ.get("KELP", kelp.default_program()),
                     help="the program to test")
    parser.addoption("--long", action="store_true", default=os.environ.get("KELP_LONG") == "1",
                     help="run everything at full length")


@pytest.fixture(scope="session")
def program(request):
    path = os.path.abspath(request.config.getoption("--kelp"))
    assert os.access(path, os.X_OK), f"{path} is not there; build it first"
    return path


@pytest.fixture(scope="session")
def long_run(request):
    return request.config.getoption("--long")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    item.kelp_passed = getattr(item, "kelp_passed", True) and report.passed
    if report.when == "teardown" and item.kelp_passed and "tmp_path" in item.funcargs:
        # Every process has ended by now; what cannot be removed all the same does no harm.
        shutil.rmtree(item.funcargs["tmp_path"], ignore_errors=True)
    if report.when == "call" and report.failed:
        for cluster in getattr(item, "kelp_clusters", []):
            for node in cluster.nodes.values():
                report.sections.append((f"end of {node.log_path}", node.log_tail()))


@pytest.fixture
def make_cluster(request, program, tmp_path):
    made = []
    request.node.kelp_clusters = made

    def make(count, start=True, **options):
        directory = tmp_path / f"cluster-{len(made) + 1}"
        directory.mkdir()
        cluster = kelp.Cluster(program, str(directory), count, **options)
        made.append(cluster)
        if start:
            cluster.start()
        return cluster

    yield make
    crashes = []
    for cluster in made:
        cluster.end()
        crashes += cluster.crash_reports()
    assert not crashes, f"a node crashed: {crashes}"
