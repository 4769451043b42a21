"""Metrics as a text file for Prometheus' node exporter: a signer node has no network port."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from signer_node.kernel.errors import ErrorId

_METRICS_MODE: Final = 0o644


@dataclass(frozen=True, slots=True)
class Figures:
    """What is measured; times in Unix seconds, 0 for never."""

    version: str
    journal_sequence: int
    tip_height: int
    last_contact_s: int
    certificate_expires_s: int
    unsent: int
    waiting: int
    halted: bool
    refusals: Mapping[str, int]


def render(figures: Figures) -> str:
    """Return the exposition text; every refusal id is there from the beginning."""
    lines = [
        *_gauge("build_info", "Version of the node.", 1, f'{{version="{figures.version}"}}'),
        *_gauge("journal_sequence", "Records in the journal.", figures.journal_sequence),
        *_gauge("chain_tip_height", "Height of the verified tip.", figures.tip_height),
        *_gauge(
            "coordinator_last_success_timestamp_seconds",
            "When the coordinator last answered.",
            figures.last_contact_s,
        ),
        *_gauge(
            "certificate_expiry_timestamp_seconds",
            "When the transport certificate ends.",
            figures.certificate_expires_s,
        ),
        *_gauge("outbox_unsent", "Envelopes that wait to be sent.", figures.unsent),
        *_gauge("manifests_waiting", "Manifests that wait for an operator.", figures.waiting),
        *_gauge("halted", "1 if the node signs nothing until a restart.", int(figures.halted)),
        "# HELP custodyd_signer_refusals_total Refusals since the start, by error id.",
        "# TYPE custodyd_signer_refusals_total counter",
    ]
    for name in (*(one.name for one in ErrorId), "INTERNAL"):
        count = figures.refusals.get(name, 0)
        lines.append(f'custodyd_signer_refusals_total{{error="{name}"}} {count}')
    return "\n".join(lines) + "\n"


def write_metrics(path: Path, figures: Figures) -> None:
    """Replace the file in one step; the exporter never reads half of it."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(render(figures), encoding="ascii")
    os.chmod(beside, _METRICS_MODE)
    os.rename(beside, path)


def _gauge(name: str, text: str, value: int, labels: str = "") -> tuple[str, str, str]:
    full = f"custodyd_signer_{name}"
    return f"# HELP {full} {text}", f"# TYPE {full} gauge", f"{full}{labels} {value}"
