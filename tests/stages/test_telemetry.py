"""What SREs see: live metrics that promtool accepts, probes, logs of allow-listed keys."""

from __future__ import annotations

import io
import json
import logging
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from custodyd.api.identity import METHOD_ROLES
from custodyd.batches.rules import BatchState
from custodyd.rpc.v1 import withdrawal_pb2_grpc
from custodyd.telemetry.logs import MAX_VALUE, configure_logs
from custodyd.withdrawals.rules import WithdrawalState
from tests.stages.coordinator import TIMEOUT_S, Coordinator, running

MAX_SERIES = 1_000


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    with running(tmp_path_factory.mktemp("telemetry") / "c") as one:
        with one.channel() as channel:
            stub = withdrawal_pb2_grpc.WithdrawalServiceStub(channel)
            stub.CreateWithdrawal(one.create(one.request()), timeout=TIMEOUT_S)
        yield one


def _get(coordinator: Coordinator, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{coordinator.daemon.probes.port}{path}"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def _samples(coordinator: Coordinator) -> dict[tuple[str, str], float]:
    """Values by name and label values, these in the order of their labels' names."""
    _, page = _get(coordinator, "/metrics")
    return {
        (sample.name, ",".join(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_promtool_accepts_the_live_page(coordinator: Coordinator) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (`make tools`)")
    _, page = _get(coordinator, "/metrics")
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=page,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_every_label_set_is_there_from_the_start_and_bounded(coordinator: Coordinator) -> None:
    samples = _samples(coordinator)
    for state in WithdrawalState:
        assert (("custodyd_withdrawals", state.name) in samples) == bool(state.value)
    for batch_state in BatchState:
        assert (("custodyd_batches", batch_state.name) in samples) == bool(batch_state.value)
    handled = [labels for name, labels in samples if name == "grpc_server_handled_total"]
    methods = {labels.split(",")[1] for labels in handled}
    assert {path.rsplit("/", 1)[-1] for path in METHOD_ROLES} <= methods
    assert len(samples) <= MAX_SERIES


def test_figures_are_those_of_the_database(coordinator: Coordinator) -> None:
    samples = _samples(coordinator)
    states = [samples["custodyd_withdrawals", name] for name in ("ACCEPTED", "QUEUED")]
    assert sum(states) == 1
    assert samples["custodyd_event_sequence", ""] >= 1
    assert samples["custodyd_certificate_expiry_timestamp_seconds", "server"] > 1_790_000_000
    handled = "OK,CreateWithdrawal,custodyd.rpc.v1.WithdrawalService,unary"
    assert samples["grpc_server_handled_total", handled] >= 1


def test_alive_is_not_ready_while_the_chain_node_is_away(coordinator: Coordinator) -> None:
    assert _get(coordinator, "/healthz") == (200, "alive\n")
    assert _get(coordinator, "/readyz") == (503, "the chain node does not answer\n")
    assert _get(coordinator, "/other")[0] == 404


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logs(stream, "debug")
    yield stream
    structlog.reset_defaults()
    logging.getLogger().handlers = []


def test_a_key_that_is_not_allowed_is_not_written(lines: io.StringIO) -> None:
    structlog.get_logger().info("done", node="s1", secret="canary", count=3, error="x" * 9_999)
    entry = json.loads(lines.getvalue())
    assert set(entry) == {"event", "level", "timestamp", "node", "count", "error"}
    assert (entry["node"], entry["count"], len(entry["error"])) == ("s1", 3, MAX_VALUE)


@pytest.mark.parametrize("library", ["structlog", "logging"])
def test_an_exception_leaves_its_type_and_place_but_not_its_text(
    lines: io.StringIO, library: str
) -> None:
    try:
        raise ValueError("canary")
    except ValueError as bad:
        if library == "structlog":
            structlog.get_logger().error("defect", exc_info=bad)
        else:
            logging.getLogger("custodyd.x").error("defect", exc_info=bad)
    assert "canary" not in lines.getvalue()
    entry = json.loads(lines.getvalue())
    assert (entry["event"], entry["fault"]) == ("defect", "ValueError")
    assert entry["place"].startswith("test_telemetry.py:")
