"""All metrics of the coordinator, with every label set that can occur made at start.

Names: `custodyd_` prefix, base units; gRPC under the names that its dashboards expect. Labels come
from closed sets only (states, methods, nodes of the genesis).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

REGISTRY: Final = CollectorRegistry()

GRPC_HANDLED: Final = Counter(
    "grpc_server_handled_total",
    "Calls completed on the server, by code.",
    ["grpc_type", "grpc_service", "grpc_method", "grpc_code"],
    registry=REGISTRY,
)
GRPC_SECONDS: Final = Histogram(
    "grpc_server_handling_seconds",
    "Time until the server had handled a call.",
    ["grpc_type", "grpc_service", "grpc_method"],
    registry=REGISTRY,
)
BUILD: Final = Info("custodyd_build", "Version of this coordinator.", registry=REGISTRY)
WITHDRAWALS: Final = Gauge(
    "custodyd_withdrawals", "Withdrawals in each state.", ["state"], registry=REGISTRY
)
OLDEST_WITHDRAWAL: Final = Gauge(
    "custodyd_withdrawal_oldest_age_seconds",
    "Age of the oldest withdrawal in each state that is no end.",
    ["state"],
    registry=REGISTRY,
)
BATCHES: Final = Gauge("custodyd_batches", "Batches in each state.", ["state"], registry=REGISTRY)
ROUNDS: Final = Counter(
    "custodyd_signing_rounds_total",
    "Signing rounds ended, by outcome.",
    ["outcome"],
    registry=REGISTRY,
)
ROUND_SECONDS: Final = Histogram(
    "custodyd_signing_round_duration_seconds",
    "Time from a round's opening to its end, in whole seconds of the clock.",
    registry=REGISTRY,
    buckets=(0, 1, 2, 5, 10, 30, 60, 300),
)
SIGNER_SEEN: Final = Gauge(
    "custodyd_signer_last_seen_timestamp_seconds",
    "When a signer node last synchronised; 0 for never.",
    ["node"],
    registry=REGISTRY,
)
CHAIN_HEIGHT: Final = Gauge(
    "custodyd_chain_height", "Height of the follower's tip.", registry=REGISTRY
)
CHAIN_SEEN: Final = Gauge(
    "custodyd_chain_last_success_timestamp_seconds",
    "When the chain node last answered.",
    registry=REGISTRY,
)
CHAIN_LAG: Final = Gauge(
    "custodyd_chain_lag_blocks",
    "Blocks that the node has and the follower has not read.",
    registry=REGISTRY,
)
EVENT_SEQUENCE: Final = Gauge(
    "custodyd_event_sequence", "Sequence of the last event.", registry=REGISTRY
)
CERTIFICATE_EXPIRY: Final = Gauge(
    "custodyd_certificate_expiry_timestamp_seconds",
    "When a transport certificate of this coordinator expires.",
    ["certificate"],
    registry=REGISTRY,
)
RECONCILE_SECONDS: Final = Histogram(
    "custodyd_reconcile_duration_seconds",
    "Time that one pass of a stage took.",
    ["stage"],
    registry=REGISTRY,
)
RECONCILE_FAILURES: Final = Counter(
    "custodyd_reconcile_failures_total",
    "Passes of a stage that failed.",
    ["stage"],
    registry=REGISTRY,
)
RECONCILE_SUCCESS: Final = Gauge(
    "custodyd_reconcile_last_success_timestamp_seconds",
    "When all stages last went through.",
    registry=REGISTRY,
)

ROUND_OUTCOMES: Final = ("DONE", "FAILED")


def round_ended(outcome: str, seconds: int) -> None:
    """Count a round that ended: an outcome of ROUND_OUTCOMES."""
    ROUNDS.labels(outcome).inc()
    ROUND_SECONDS.observe(seconds)


def initialise(stages: Iterable[str], states: Mapping[str, Iterable[str]]) -> None:
    """Make the label sets: `states` has those of "withdrawals" and "batches"."""
    for state in states["withdrawals"]:
        WITHDRAWALS.labels(state)
        OLDEST_WITHDRAWAL.labels(state)
    for state in states["batches"]:
        BATCHES.labels(state)
    for outcome in ROUND_OUTCOMES:
        ROUNDS.labels(outcome)
    for stage in stages:
        RECONCILE_SECONDS.labels(stage)
        RECONCILE_FAILURES.labels(stage)


def initialise_method(kind: str, service: str, method: str) -> None:
    """Make a gRPC method's label sets, with the code that matters for rates."""
    GRPC_HANDLED.labels(kind, service, method, "OK")
    GRPC_SECONDS.labels(kind, service, method)
