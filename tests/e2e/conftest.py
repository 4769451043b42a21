"""One local quorum of real processes for all tests here; each test finds everything running."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster, Setting
from deploy.local.processes import Ports
from tests.e2e.exchange_day import Round

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # Unix sockets have short paths: pytest's own folder names can be too long for them.
    root = Path(tmp_path_factory.mktemp("q"))
    cluster = Cluster(Setting(root, Ports.free(), batch_age_s=1))
    try:
        cluster.make_keys()
        cluster.enrol()
        cluster.agree()
        cluster.make_vault()
        cluster.prime_chain()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def quorum(running: Cluster) -> Cluster:
    """The quorum with every process alive."""
    running.start()
    running.await_ready()
    return running


@pytest.fixture
def round_(quorum: Cluster) -> Round:
    """Withdrawals of this test, with coins to pay them."""
    one = Round(quorum, f"r{next(_numbers)}")
    one.fund()
    return one
