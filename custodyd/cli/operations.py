"""`custodyd batches`, `balance`, `status`, `vault`: what an SRE looks at and sets up."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Any, Final

import click

from custodyd.cli.home import Home, home_option, open_home
from custodyd.cli.payments import as_json, vault_option, waits_for
from custodyd.cli.screen import Screen, bitcoin, command, enum_tail
from custodyd.client.connection import Coordinator
from custodyd.client.sealing import replace_private
from custodyd.client.verify import verify_certificate
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import admin_pb2, batch_pb2, withdrawal_pb2
from signer_node.kernel.bitcoin.words import words_from_digest
from signer_node.kernel.documents.genesis import Genesis, check_genesis
from signer_node.kernel.documents.signed import Body
from signer_node.kernel.documents.vault import FrostKey
from signer_node.kernel.rules.certify import CertifiedVault
from signer_node.kernel.vault.interface import EXTERNAL_CHAIN, INTERNAL_CHAIN
from signer_node.wire import decode_body

WAIT_POLL_S: Final = 0.3
SAMPLE_ADDRESSES: Final = 3
IMPORT_RANGE: Final = 1_000
_STATE: Final = "BATCH_STATE_"
_VAULT: Final = "VAULT_STATE_"


# --- batches ---


@click.group()
def batches() -> None:
    """What is being paid together."""


@batches.command("list")
@home_option
@click.option("--state", default="", help="only those in this state, e.g. PROPOSED")
@command
def batches_list(screen: Screen, home: Path, state: str) -> None:
    """All batches."""
    number = _batch_state(state)
    with open_home(home).coordinator() as coordinator:
        found = list(coordinator.batches(number))
    rows = [
        (
            one.batch_id,
            enum_tail(batch_pb2.BatchState.Name(one.state), _STATE),
            str(len(one.external_ids)),
            bitcoin(one.paid_sat),
            f"{one.fee_sat} sat",
            waits_for(one.blocked_reason, one.blocked_detail) or one.txid,
        )
        for one in found
    ]
    screen.table(("batch", "state", "pays", "amount", "fee", "waits for / txid"), rows)
    screen.done({"batches": [batch_json(one) for one in found]})


@batches.command("show")
@home_option
@click.argument("batch_id")
@command
def batches_show(screen: Screen, home: Path, batch_id: str) -> None:
    """One batch."""
    with open_home(home).coordinator() as coordinator:
        found = batch_json(coordinator.batch(batch_id))
    for name, value in found.items():
        screen.line(f"{name:18} {value}")
    screen.done(found)


def _batch_state(state: str) -> int:
    if not state:
        return 0
    try:
        return batch_pb2.BatchState.Value(_STATE + state.upper())
    except ValueError:
        raise CustodydError(ErrorId.ARGUMENT_INVALID, f"no state is called {state}") from None


def batch_json(one: batch_pb2.Batch) -> dict[str, Any]:
    """A batch for machines."""
    found = as_json(one)
    found["state"] = enum_tail(found["state"], _STATE)
    found["blocked_reason"] = enum_tail(
        withdrawal_pb2.BlockedReason.Name(one.blocked_reason), "BLOCKED_REASON_"
    )
    for name in ("paid_sat", "fee_sat", "change_sat", "created_at_s", "expires_at_s"):
        found[name] = getattr(one, name)
    found["manifest_digest"] = one.manifest_digest.hex()
    return found


# --- balance and status ---


@click.command()
@home_option
@vault_option
@command
def balance(screen: Screen, home: Path, vault: str) -> None:
    """What the vault holds, as the coordinator counts it."""
    with open_home(home).coordinator() as coordinator:
        found = coordinator.balance(vault)
    figures = {
        "available_sat": found.available_sat,
        "reserved_sat": found.reserved_sat,
        "pending_change_sat": found.pending_change_sat,
        "pending_deposits_sat": found.pending_deposits_sat,
    }
    for name, amount_sat in figures.items():
        screen.line(f"{name.removesuffix('_sat').replace('_', ' '):18} {bitcoin(amount_sat)}")
    screen.done({"vault": vault, **figures})


@click.command()
@home_option
@command
def status(screen: Screen, home: Path) -> None:
    """Chain, signers, and the last event."""
    with open_home(home).coordinator() as coordinator:
        found = coordinator.status()
    screen.line(f"custodyd {found.version}, store {found.store_incarnation.hex()}")
    screen.line(f"chain height {found.chain_height}, tip {found.chain_tip}")
    rows = [
        (
            one.node,
            "online" if one.online else "OFFLINE",
            _ago(one.last_seen_s),
            str(one.tip_height),
            str(one.journal_sequence),
        )
        for one in found.signers
    ]
    screen.table(("signer", "", "last seen", "tip", "journal"), rows)
    answer = as_json(found)
    answer["store_incarnation"] = found.store_incarnation.hex()
    screen.done(answer)


def _ago(at_s: int) -> str:
    return "never" if at_s == 0 else f"{max(0, int(time.time()) - at_s)} s ago"


@click.group()
def holds() -> None:
    """Withdrawals that an operator's rejection holds."""


@holds.command("release")
@home_option
@click.argument("external_ids", nargs=-1, required=True)
@command
def holds_release(screen: Screen, home: Path, external_ids: tuple[str, ...]) -> None:
    """Let them go into a batch again."""
    with open_home(home).coordinator() as coordinator:
        released = list(coordinator.release_holds(external_ids))
    screen.line(f"released: {', '.join(released) or 'none'}")
    screen.done({"released": released})


# --- vaults ---


@click.group()
def vault() -> None:
    """Vaults: made by the signer nodes, certified by all of them."""


@vault.command("create")
@home_option
@click.argument("name")
@click.option("--kind", default="taproot-frost", show_default=True)
@click.option("--wait-s", type=float, default=60.0, show_default=True, help="0: do not wait")
@command
def vault_create(screen: Screen, home: Path, name: str, kind: str, wait_s: float) -> None:
    """Have the signer nodes make a vault; waits until all have certified it.

    For taproot-frost each node's operator confirms: `signer-node vault confirm NAME`.
    """
    deadline = time.monotonic() + wait_s
    with open_home(home).coordinator() as coordinator:
        found = coordinator.create_vault(str(uuid.uuid4()), name, kind)
        while not found.certificate and time.monotonic() < deadline:
            time.sleep(WAIT_POLL_S)
            found = coordinator.vault(name)
    _say_vault(screen, found)


@vault.command("show")
@home_option
@click.argument("name")
@command
def vault_show(screen: Screen, home: Path, name: str) -> None:
    """A vault and whom its making waits for."""
    with open_home(home).coordinator() as coordinator:
        _say_vault(screen, coordinator.vault(name))


def _say_vault(screen: Screen, found: admin_pb2.Vault) -> None:
    state = enum_tail(admin_pb2.VaultState.Name(found.state), _VAULT)
    screen.line(f"vault {found.vault} ({found.kind}): {state}")
    if found.descriptor:
        screen.line(found.descriptor)
    if found.trouble:
        screen.line(f"the last failure: {found.trouble}")
    if found.waiting_for:
        screen.line(f"waits for {', '.join(found.waiting_for)}")
    answer = as_json(found)
    answer["state"] = state
    answer["certificate"] = found.certificate.hex()
    screen.done(answer)


@vault.command("export")
@home_option
@click.argument("name")
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="folder to write into"
)
@command
def vault_export(screen: Screen, home: Path, name: str, output: Path) -> None:
    """Write what a recovery needs besides t backups: genesis, certificate, descriptor."""
    opened = open_home(home)
    with opened.coordinator() as coordinator:
        genesis = _genesis(opened, coordinator)
        certificate = coordinator.vault(name).certificate
    if not certificate:
        raise CustodydError(ErrorId.VAULT_NOT_PINNED, f"{name} is not certified yet")
    certified = verify_certificate(genesis, certificate)
    output.mkdir(parents=True, exist_ok=True)
    files = _export_files(genesis, certified, certificate)
    for file_name, content in files.items():
        replace_private(output / file_name, content)
    for file_name in files:
        screen.line(str(output / file_name))
    screen.line(f"genesis words: {' '.join(words_from_digest(genesis.digest))}")
    screen.done({"files": [str(output / one) for one in files]})


def _genesis(home: Home, coordinator: Coordinator) -> Body[Genesis]:
    """The pinned genesis of a backend, else the coordinator's (an SRE pins none)."""
    raw = None
    if (home.folder / "identity.json").exists():
        ledger = home.ledger()
        raw = ledger.fact("genesis")
        ledger.close()
    body = decode_body(Genesis, raw if raw is not None else coordinator.genesis())
    check_genesis(body.document)
    return body


def _export_files(
    genesis: Body[Genesis], certified: CertifiedVault, certificate: bytes
) -> dict[str, bytes]:
    document = certified.certificate.document
    summary = {
        "vault": document.vault,
        "kind": document.kind.name.lower().replace("_", "-"),
        "threshold": document.threshold,
        "epoch": document.epoch,
        "network": genesis.document.network.parameters.name,
        "genesis_digest": genesis.digest.hex(),
        "genesis_words": list(words_from_digest(genesis.digest)),
        "certificate_digest": certified.certificate.digest.hex(),
        "descriptor": document.descriptor,
        "cosigners": [
            {"node": one.node, "xpub": one.xpub, "fingerprint": one.fingerprint.hex()}
            for one in document.cosigners
        ],
        "threshold_key": _threshold_key(document.frost),
        "first_addresses": [
            certified.kind.address(EXTERNAL_CHAIN, at) for at in range(SAMPLE_ADDRESSES)
        ],
        "first_change_addresses": [
            certified.kind.address(INTERNAL_CHAIN, at) for at in range(SAMPLE_ADDRESSES)
        ],
    }
    return {
        "genesis.bin": genesis.raw,
        "certificate.bin": certificate,
        "descriptor.txt": document.descriptor.encode() + b"\n",
        "importdescriptors.json": _import_descriptors(document.descriptor),
        "vault.json": (json.dumps(summary, indent=1) + "\n").encode(),
    }


def _threshold_key(frost: FrostKey | None) -> dict[str, object] | None:
    """A threshold key and what each member verifies a share against; null for a multisig."""
    if frost is None:
        return None
    return {
        "public_key": frost.threshold_key.hex(),
        "chain_code": frost.chain_code.hex(),
        "recovery_digest": frost.recovery.hex(),
        "members": [{"node": one.node, "pubshare": one.pubshare.hex()} for one in frost.pubshares],
    }


def _import_descriptors(descriptor: str) -> bytes:
    """The argument of Bitcoin Core's importdescriptors (a multipath descriptor, Core 29 on)."""
    request = [{"desc": descriptor, "timestamp": 0, "active": True, "range": [0, IMPORT_RANGE - 1]}]
    return (json.dumps(request, indent=1) + "\n").encode()
