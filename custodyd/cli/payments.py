"""`custodyd withdraw`, `address`, `deposits`, `withdrawals`: an exchange's daily commands."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from custodyd.cli.home import Home, home_option, open_home
from custodyd.cli.passphrase import passphrase_options, read_passphrase
from custodyd.cli.payments_file import read_payments
from custodyd.cli.screen import Screen, bitcoin, command, enum_tail
from custodyd.client.connection import Coordinator
from custodyd.client.errors import ClientError
from custodyd.client.keys import load_identity, open_request_key
from custodyd.client.ledger import ClientLedger, StoredRequest
from custodyd.client.requests import Payment, Requester, keep, sign_payment, submit_many
from custodyd.client.verify import next_address, open_pinned, pin_vault, pinned_genesis
from custodyd.errors import CustodydError, ErrorId
from custodyd.rpc.v1 import withdrawal_pb2
from signer_node.kernel.rules.certify import CertifiedVault
from signer_node.kernel.units import InvalidAmount, parse_bitcoin

DEFAULT_VAULT: Final = "hot"
MAX_ADDRESSES: Final = 1_000
WATCH_POLL_S: Final = 0.5
_STATE: Final = "WITHDRAWAL_STATE_"
_REASON: Final = "BLOCKED_REASON_"
_DEPOSIT: Final = "DEPOSIT_STATE_"
ENDED: Final = frozenset({"FINAL", "REJECTED", "CANCELLED", "EXPIRED"})

vault_option = click.option("--vault", default=DEFAULT_VAULT, show_default=True)


def as_json(message: Message) -> dict[str, Any]:
    """A message with its .proto's field names; 64-bit numbers are strings, as protobuf says."""
    found: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return found


@contextmanager
def pinned_vault(home: Home, vault: str) -> Iterator[tuple[ClientLedger, CertifiedVault]]:
    """The ledger and a vault verified here, pinned now if it was not yet."""
    ledger = home.ledger()
    try:
        genesis = pinned_genesis(ledger)
        pinned = ledger.vault(vault)
        if pinned is not None:
            yield ledger, open_pinned(genesis, pinned)
            return
        with home.coordinator() as coordinator:
            certificate = coordinator.vault(vault).certificate
        if not certificate:
            raise CustodydError(ErrorId.VAULT_NOT_PINNED, f"{vault} is not certified yet")
        yield ledger, pin_vault(ledger, genesis, vault, certificate)
    finally:
        ledger.close()


# --- addresses and deposits ---


@click.group()
def address() -> None:
    """Deposit addresses, derived here from the pinned certificate."""


@address.command("new")
@home_option
@vault_option
@click.option("--label", default="", help="whose deposit it is; stays here")
@click.option("--count", type=click.IntRange(1, MAX_ADDRESSES), default=1, show_default=True)
@command
def address_new(screen: Screen, home: Path, vault: str, label: str, count: int) -> None:
    """Hand out addresses that were never handed out before."""
    opened = open_home(home)
    with pinned_vault(opened, vault) as (ledger, certified):
        made = [next_address(ledger, certified, label) for _ in range(count)]
        watched = _announce(opened, ledger, vault)
    for _index, text in made:
        screen.line(text)
    if not watched:
        screen.line("the coordinator does not answer: `custodyd backend run` announces it later")
    index, text = made[0]
    screen.done(
        {
            "vault": vault,
            "index": index,
            "address": text,
            "addresses": [one for _index, one in made],
            "watched": watched,
        }
    )


def _announce(home: Home, ledger: ClientLedger, vault: str) -> bool:
    pinned = ledger.vault(vault)
    try:
        with home.coordinator() as coordinator:
            coordinator.watch_addresses(vault, pinned.next_index if pinned else 0)
    except ClientError as fault:
        if not fault.retryable:
            raise
        return False
    return True


@click.group()
def deposits() -> None:
    """What came in: as the coordinator sees it, and what this ledger credited by proof."""


@deposits.command("list")
@home_option
@command
def deposits_list(screen: Screen, home: Path) -> None:
    """All deposits; `credited` only what this client verified itself."""
    found = _deposits(open_home(home))
    rows = [
        (
            f"{one['txid']}:{one['vout']}",
            bitcoin(int(one["amount_sat"])),
            one["state"],
            str(one["confirmations"]),
            one["credited"],
        )
        for one in found
    ]
    screen.table(("outpoint", "amount", "coordinator says", "depth", "credited here"), rows)
    screen.done({"deposits": found})


@deposits.command("show")
@home_option
@click.argument("txid")
@command
def deposits_show(screen: Screen, home: Path, txid: str) -> None:
    """The deposits of one transaction."""
    found = [one for one in _deposits(open_home(home)) if one["txid"] == txid]
    if not found:
        raise CustodydError(ErrorId.NOT_FOUND, f"no deposit of transaction {txid}")
    for one in found:
        for name, value in one.items():
            screen.line(f"{name:14} {value}")
    screen.done({"deposits": found})


def _deposits(home: Home) -> list[dict[str, Any]]:
    ledger = home.ledger()
    credited = {str(one.outpoint): one.state.value for one in ledger.credits()}
    ledger.close()
    with home.coordinator() as coordinator:
        found = [as_json(one) for one in coordinator.deposits()]
    for one in found:
        one["state"] = enum_tail(one["state"], _DEPOSIT)
        one["credited"] = credited.get(f"{one['txid']}:{one['vout']}", "no")
    return found


# --- withdrawals ---


@click.command()
@home_option
@vault_option
@click.argument("payment", nargs=-1, metavar="[EXTERNAL_ID ADDRESS AMOUNT_BTC]")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="a file of payments")
@click.option("--account", default="", help="the customer's account, shown to operators")
@click.option("--initiator", help="the person who causes it; the key's first one if left out")
@click.option("--dry-run", is_flag=True, help="check everything, sign and submit nothing")
@passphrase_options
@command
def withdraw(
    screen: Screen,
    home: Path,
    vault: str,
    payment: tuple[str, ...],
    csv_file: Path | None,
    account: str,
    initiator: str | None,
    dry_run: bool,
    passphrase_fd: int | None,
    passphrase_file: Path | None,
) -> None:
    """Ask for one payment, or for a file of them; every line must be good."""
    opened = open_home(home)
    with pinned_vault(opened, vault) as (ledger, _certified):
        genesis = pinned_genesis(ledger)
        payments = _payments(payment, csv_file, account, genesis.document.network)
        if dry_run:
            _say_dry(screen, payments)
            return
        passphrase = read_passphrase(passphrase_fd, passphrase_file)
        key = open_request_key(opened.folder, passphrase)
        people = load_identity(opened.folder).people
        requester = Requester(key, initiator or people[0], genesis, vault)
        now_s = int(time.time())
        kept = keep(ledger, [sign_payment(one, requester, now_s) for one in payments])
        states = _submit_all(opened, ledger, kept)
    for one in kept:
        screen.line(f"{one.withdrawal_id}  {bitcoin(one.amount_sat)}  {states[one.withdrawal_id]}")
    screen.done({"withdrawals": [{"external_id": k, "state": v} for k, v in states.items()]})


def _payments(
    payment: tuple[str, ...], csv_file: Path | None, account: str, network: Any
) -> tuple[Payment, ...]:
    if csv_file is not None and not payment:
        return read_payments(csv_file, network)
    if csv_file is not None or len(payment) != 3:
        raise click.UsageError("give EXTERNAL_ID ADDRESS AMOUNT_BTC, or --csv FILE")
    external_id, to, amount = payment
    try:
        return (Payment(external_id, to, parse_bitcoin(amount), account),)
    except InvalidAmount as fault:
        raise CustodydError(ErrorId.ARGUMENT_INVALID, str(fault)) from None


def _say_dry(screen: Screen, payments: Sequence[Payment]) -> None:
    total_sat = sum(one.amount_sat for one in payments)
    screen.line(f"{len(payments)} payments of {bitcoin(total_sat)} are good; nothing was submitted")
    screen.done({"payments": len(payments), "total_sat": total_sat, "submitted": False})


def _submit_all(home: Home, ledger: ClientLedger, kept: Sequence[StoredRequest]) -> dict[str, str]:
    """Submit; what the coordinator does not take now, the backend's process sends again."""
    states = {one.withdrawal_id: "KEPT" for one in kept}
    with home.coordinator() as coordinator:
        for one, outcome in submit_many(coordinator, ledger, kept):
            if not isinstance(outcome, ClientError):
                states[one.withdrawal_id] = outcome
            elif not outcome.retryable:
                raise outcome
    return states


@click.group()
def withdrawals() -> None:
    """Follow what was asked for."""


@withdrawals.command("list")
@home_option
@click.option("--state", default="", help="only those in this state, e.g. QUEUED")
@command
def withdrawals_list(screen: Screen, home: Path, state: str) -> None:
    """All withdrawals."""
    number = _state_number(state)
    with open_home(home).coordinator() as coordinator:
        found = list(coordinator.withdrawals(number))
    _say_withdrawals(screen, found)
    screen.done({"withdrawals": [withdrawal_json(one) for one in found]})


def _state_number(state: str) -> int:
    if not state:
        return 0
    try:
        return withdrawal_pb2.WithdrawalState.Value(_STATE + state.upper())
    except ValueError:
        raise CustodydError(ErrorId.ARGUMENT_INVALID, f"no state is called {state}") from None


@withdrawals.command("show")
@home_option
@click.argument("external_id")
@command
def withdrawals_show(screen: Screen, home: Path, external_id: str) -> None:
    """One withdrawal, and what this ledger itself knows of it."""
    opened = open_home(home)
    with opened.coordinator() as coordinator:
        found = withdrawal_json(coordinator.withdrawal(external_id))
    found["verified_here"] = _own_state(opened, external_id)
    for name, value in found.items():
        screen.line(f"{name:16} {value}")
    screen.done(found)


def _own_state(home: Home, external_id: str) -> str:
    if not (home.folder / "identity.json").exists():
        return "no ledger here"
    ledger = home.ledger()
    own = ledger.request(external_id)
    ledger.close()
    return own.state.value if own is not None else "not asked for here"


@withdrawals.command("watch")
@home_option
@click.argument("external_ids", nargs=-1)
@click.option("--until", default="FINAL", show_default=True, help="end when all got there")
@click.option("--timeout-s", type=float, default=3600.0, show_default=True)
@command
def withdrawals_watch(
    screen: Screen, home: Path, external_ids: tuple[str, ...], until: str, timeout_s: float
) -> None:
    """Follow withdrawals, one line for each change, until all are final or ended otherwise."""
    _state_number(until)
    deadline = time.monotonic() + timeout_s
    seen: dict[str, str] = {}
    with open_home(home).coordinator() as coordinator:
        while True:
            found = _looked_up(coordinator, external_ids)
            _say_changes(screen, found, seen)
            if all(_arrived(one, until.upper()) for one in found) and len(found) > 0:
                break
            if time.monotonic() > deadline:
                raise CustodydError(ErrorId.COORDINATOR_UNREACHABLE, f"not all are {until} yet")
            time.sleep(WATCH_POLL_S)
    screen.done({"withdrawals": [withdrawal_json(one) for one in found]})


def _looked_up(
    coordinator: Coordinator, external_ids: Sequence[str]
) -> list[withdrawal_pb2.Withdrawal]:
    if external_ids:
        return list(coordinator.lookup(external_ids).withdrawals)
    return list(coordinator.withdrawals())


def _arrived(one: withdrawal_pb2.Withdrawal, until: str) -> bool:
    name = enum_tail(withdrawal_pb2.WithdrawalState.Name(one.state), _STATE)
    wanted = withdrawal_pb2.WithdrawalState.Value(_STATE + until)
    return name in ENDED or one.state >= wanted


def _say_changes(
    screen: Screen, found: Sequence[withdrawal_pb2.Withdrawal], seen: dict[str, str]
) -> None:
    for one in found:
        now = _said(one)
        if seen.get(one.external_id) != now:
            seen[one.external_id] = now
            screen.line(f"{time.strftime('%H:%M:%S')} {one.external_id} {now}")


def _said(one: withdrawal_pb2.Withdrawal) -> str:
    state = enum_tail(withdrawal_pb2.WithdrawalState.Name(one.state), _STATE)
    waits = waits_for(one.blocked_reason, one.blocked_detail)
    return " ".join(part for part in (state, waits, one.txid) if part)


def waits_for(reason: Any, detail: str) -> str:
    """Why something waits, for people; empty when it does not."""
    name = enum_tail(withdrawal_pb2.BlockedReason.Name(reason), _REASON)
    if name in {"UNKNOWN", "NONE"}:
        return ""
    return f"waits for {name.lower()}" + (f" ({detail})" if detail else "")


def withdrawal_json(one: withdrawal_pb2.Withdrawal) -> dict[str, Any]:
    """A withdrawal for machines; enum names without their prefix, digest in hex."""
    found = as_json(one)
    found["state"] = enum_tail(found["state"], _STATE)
    found["blocked_reason"] = enum_tail(found["blocked_reason"], _REASON)
    found["amount_sat"] = one.amount_sat
    found["request_digest"] = one.request_digest.hex()
    return found


def _say_withdrawals(screen: Screen, found: Sequence[withdrawal_pb2.Withdrawal]) -> None:
    rows = [
        (
            one.external_id,
            bitcoin(one.amount_sat),
            one.address,
            enum_tail(withdrawal_pb2.WithdrawalState.Name(one.state), _STATE),
            waits_for(one.blocked_reason, one.blocked_detail) or one.txid,
        )
        for one in found
    ]
    screen.table(("external id", "amount", "address", "state", "waits for / txid"), rows)
