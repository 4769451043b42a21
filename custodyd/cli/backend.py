"""`custodyd backend`: the exchange's side as a process of its own, and how it comes to trust."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import click
import msgspec

from custodyd.cli.home import (
    BackendSection,
    ChainSection,
    ClientConfig,
    CoordinatorSection,
    Home,
    home_option,
    open_home,
    write_config,
)
from custodyd.cli.passphrase import passphrase_options, read_passphrase, read_text_file
from custodyd.cli.screen import Screen, command, word_lines
from custodyd.client.backend import Backend
from custodyd.client.enrolment import enroll, renew
from custodyd.client.keys import load_identity, make_keys, make_tls_key, open_request_key
from custodyd.client.sealing import COST_LOG2, LEAST_COST_LOG2, MOST_COST_LOG2
from custodyd.client.verify import pin_genesis, pinned_genesis
from signer_node.kernel.bitcoin.headers import parse_header
from signer_node.kernel.bitcoin.transaction import txid_to_hex
from signer_node.kernel.bitcoin.words import words_from_digest
from signer_node.kernel.documents.genesis import Genesis, check_genesis
from signer_node.wire import decode_body


@click.group()
def backend() -> None:
    """The exchange's side: keys, trust, and the process that answers by itself."""


@backend.command("init")
@home_option
@click.option("--person", "people", multiple=True, required=True, help="a person behind the key")
@click.option("--chain", default="", metavar="HOST:PORT", help="JSON-RPC of your chain node")
@click.option("--chain-credentials-file", default="", help="file with user:password")
@click.option("--credit-depth", type=int, default=6, show_default=True)
@click.option("--final-depth", type=int, default=6, show_default=True)
@click.option("--poll-s", type=float, default=1.0, show_default=True)
@click.option(
    "--scrypt-cost",
    type=click.IntRange(LEAST_COST_LOG2, MOST_COST_LOG2),
    default=COST_LOG2,
    show_default=True,
    help="log2 of scrypt's N; lower only where the key guards play money",
)
@passphrase_options
@command
def init(
    screen: Screen,
    home: Path,
    people: tuple[str, ...],
    chain: str,
    chain_credentials_file: str,
    credit_depth: int,
    final_depth: int,
    poll_s: float,
    scrypt_cost: int,
    passphrase_fd: int | None,
    passphrase_file: Path | None,
) -> None:
    """Make the request key here, sealed by a passphrase."""
    passphrase = read_passphrase(passphrase_fd, passphrase_file, new=True)
    identity = make_keys(home.expanduser(), people, passphrase, scrypt_cost)
    config = ClientConfig(
        chain=ChainSection(chain, chain_credentials_file),
        backend=BackendSection(credit_depth, final_depth, poll_s),
    )
    write_config(home, config)
    screen.line(f"request key {identity.key.hex()}, people {', '.join(people)}")
    screen.line(f"next: custodyd backend enroll --home {home} --coordinator HOST:PORT")
    screen.done({"request_key": identity.key.hex(), "people": list(people)})


@backend.command("enroll")
@home_option
@click.option("--coordinator", required=True, metavar="HOST:PORT", help="the enrolment port")
@click.option(
    "--token-file", type=click.Path(path_type=Path), default="-", help="the token; - is stdin"
)
@command
def enroll_backend(screen: Screen, home: Path, coordinator: str, token_file: Path) -> None:
    """Take the slot that a token opens."""
    opened = open_home(home)
    identity = load_identity(opened.folder)
    done = enroll(opened.folder, read_text_file(token_file), coordinator, identity)
    _keep_address(opened, done.address)
    screen.line(f"enrolled; the coordinator is at {done.address}")
    screen.line(f"next: custodyd backend genesis confirm --home {home}")
    screen.done({"coordinator": done.address})


@backend.group("genesis")
def genesis_group() -> None:
    """Policy 0 of the quorum: compare its 24 words out of band, then confirm them."""


@genesis_group.command("show")
@home_option
@command
def genesis_show(screen: Screen, home: Path) -> None:
    """Show the words of the genesis that the coordinator gives (or that is pinned)."""
    opened = open_home(home)
    ledger = opened.ledger()
    raw = ledger.fact("genesis")
    pinned = raw is not None
    if raw is None:
        with opened.coordinator() as coordinator:
            raw = coordinator.genesis()
    body = decode_body(Genesis, raw)
    check_genesis(body.document)
    words = words_from_digest(body.digest)
    _show_genesis(screen, body.document, words, pinned=pinned)
    screen.done({"digest": body.digest.hex(), "words": list(words), "pinned": pinned})


def _show_genesis(
    screen: Screen, genesis: Genesis, words: tuple[str, ...], *, pinned: bool
) -> None:
    seats = ", ".join(seat.name for seat in genesis.signers)
    screen.line(f"{genesis.label}: {genesis.threshold} of {len(genesis.signers)} ({seats})")
    for seat in genesis.operators:
        screen.line(f"  operator {seat.person} ({seat.role}) at {seat.node}")
    for entry in genesis.request_keys:
        screen.line(f"  asking: {', '.join(entry.people)} by key {entry.key.hex()}")
    point = genesis.checkpoint
    block = txid_to_hex(parse_header(point.header).hash)
    screen.line(f"  chain from block {point.height}, {block}: look it up elsewhere")
    for line in word_lines(words):
        screen.line(f"  {line}")
    screen.line("pinned here" if pinned else "NOT confirmed here: compare the words out of band")


@genesis_group.command("confirm")
@home_option
@click.option(
    "--words-file",
    type=click.Path(path_type=Path),
    help="the 24 words as you got them out of band; - is stdin; asked for when left out",
)
@command
def genesis_confirm(screen: Screen, home: Path, words_file: Path | None) -> None:
    """Believe the genesis: type the words that the other people read to you."""
    opened = open_home(home)
    with opened.coordinator() as coordinator:
        raw = coordinator.genesis()
    words = read_text_file(words_file) if words_file else click.prompt("the 24 words", err=True)
    key = load_identity(opened.folder).key
    body = pin_genesis(opened.ledger(), raw, words, key)
    screen.line(f"genesis {body.digest.hex()} confirmed")
    screen.done({"digest": body.digest.hex()})


@backend.command("run")
@home_option
@passphrase_options
@command
def run(
    screen: Screen, home: Path, passphrase_fd: int | None, passphrase_file: Path | None
) -> None:
    """Run until SIGTERM: resubmit, confirm, credit, call final. One JSON line an event."""
    opened = open_home(home)
    key = open_request_key(opened.folder, read_passphrase(passphrase_fd, passphrase_file))
    ledger = opened.ledger()
    pinned_genesis(ledger)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stopper(stop))
    with opened.coordinator(patient=False) as coordinator:
        process = Backend(coordinator, ledger, opened.chain(), key, _log, opened.settings())
        _log("started", request_key=key.public.hex())
        process.run(stop)
    ledger.close()
    _log("stopped")
    screen.done({"stopped": True})


def _stopper(stop: threading.Event) -> Callable[[int, FrameType | None], None]:
    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    return on_signal


def _log(event: str, /, **facts: object) -> None:
    record = {"at": round(time.time(), 3), "event": event, **facts}
    print(json.dumps(record, default=str), file=sys.stderr, flush=True)


@click.group()
def admin() -> None:
    """An SRE's own access to the coordinator."""


@admin.command("enroll")
@home_option
@click.option("--coordinator", required=True, metavar="HOST:PORT", help="the enrolment port")
@click.option(
    "--token-file", type=click.Path(path_type=Path), default="-", help="the token; - is stdin"
)
@command
def enroll_admin(screen: Screen, home: Path, coordinator: str, token_file: Path) -> None:
    """Make a transport key here and take the slot that a token opens."""
    folder = home.expanduser()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    make_tls_key(folder)
    done = enroll(folder, read_text_file(token_file), coordinator, None)
    write_config(folder, ClientConfig(CoordinatorSection(done.address)))
    screen.line(f"enrolled; the coordinator is at {done.address}")
    screen.done({"coordinator": done.address})


@click.group()
def certificate() -> None:
    """The transport certificate of this client."""


@certificate.command("renew")
@home_option
@command
def renew_certificate(screen: Screen, home: Path) -> None:
    """Replace it by a newer one, by the one that is still valid."""
    opened = open_home(home)
    expires_at_s = renew(opened.folder, opened.config.coordinator.address)
    until = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(expires_at_s))
    screen.line(f"renewed; valid until {until}")
    screen.done({"expires_at_s": expires_at_s})


def _keep_address(home: Home, address: str) -> None:
    config = msgspec.structs.replace(home.config, coordinator=CoordinatorSection(address))
    write_config(home.folder, config)
