"""Commands that only look: status, list, screens, offline verification, export."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from signer_node.adapters.folder import Folder, read_file
from signer_node.adapters.journal import Journal, connect_read_only, reader
from signer_node.adapters.keystore import IDENTITY, Keystore
from signer_node.console import facts, screen
from signer_node.console.messages import (
    GenesisRequest,
    ListRequest,
    Manifests,
    PendingGenesis,
    Request,
    Response,
    Shown,
    ShowRequest,
    Status,
    StatusRequest,
)
from signer_node.console.server import ask
from signer_node.console.terminal import say, say_json
from signer_node.console.view import View, as_json, view_of
from signer_node.core.projection import open_proposal
from signer_node.daemon.config import Configuration
from signer_node.kernel.bitcoin.headers import parse_header
from signer_node.kernel.bitcoin.network import network_from_name
from signer_node.kernel.bitcoin.transaction import txid_to_hex
from signer_node.kernel.documents.fields import MAX_ENVELOPE
from signer_node.kernel.documents.genesis import Genesis, quorum_figures
from signer_node.kernel.documents.manifest import Manifest
from signer_node.kernel.documents.signed import Body
from signer_node.kernel.documents.text import shown
from signer_node.kernel.errors import ErrorId, ExitCode, Refusal

_PSBT_MAGIC: Final = b"psbt\xff"
_WORDS_A_ROW: Final = 6

Answer = TypeVar("Answer", bound=Response)


def ask_daemon(configuration: Configuration, request: Request, kind: type[Answer]) -> Answer:
    """Ask the running daemon; raises its refusal."""
    answer = ask(Folder(configuration.data_dir).socket, request)
    if not isinstance(answer, kind):
        raise Refusal(ErrorId.DAEMON_UNREACHABLE, f"it answered {type(answer).__name__}")
    return answer


def genesis_show(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """The genesis that came, with the words to compare out of band."""
    pending = ask_daemon(configuration, GenesisRequest(), PendingGenesis)
    genesis = facts.open_genesis(pending.genesis)
    if not args.json:
        say(_genesis_text(genesis, pending))
        return ExitCode.OK
    say_json(
        {
            "digest": genesis.digest.hex(),
            "words": pending.words,
            "confirmed": pending.confirmed,
            "genesis": pending.genesis.hex(),
        }
    )
    return ExitCode.OK


def _genesis_text(genesis: Body[Genesis], pending: PendingGenesis) -> str:
    document, rules = genesis.document, genesis.document.rules
    count = len(document.signers)
    figures = quorum_figures(document.threshold, count)
    network = document.network.parameters.name
    standing = "confirmed" if pending.confirmed else "NOT CONFIRMED: compare the words"
    quorum = f"{document.threshold} of {count}, f = {document.corrupt_max}"
    bears = f"f_theft = {figures.f_theft}, f_once = {figures.f_once}, f_live = {figures.f_live}"
    people = (f"{seat.person} ({seat.role}, {seat.node})" for seat in document.operators)
    asking = (
        f"{', '.join(entry.people)} by key {entry.key.hex()}" for entry in document.request_keys
    )
    point = document.checkpoint
    block = txid_to_hex(parse_header(point.header).hash)
    payer = "required" if rules.payer_confirmation_required else "not required"
    ceilings = f"fee at most {rules.max_fee_sat} sat, {rules.max_fee_rate_sat_vb} sat/vB"
    lines = [
        f"GENESIS  {shown(document.label)}, {network}, {standing}",
        f"QUORUM   {quorum}; {bears}",
        f"SIGNERS  {', '.join(seat.name for seat in document.signers)}",
        f"PEOPLE   {', '.join(people)}",
        f"ASKING   {'; '.join(asking)}",
        f"CHAIN    from block {point.height}, {block}: look it up elsewhere",
        f"RULES    {rules.approvals_required} approvals, payer confirmation {payer}, {ceilings}",
        "WORDS    the same at every node and at the backend, or something is wrong:",
    ]
    return "\n".join([*lines, *_word_rows(pending.words.split())])


def _word_rows(words: list[str]) -> list[str]:
    rows = []
    for at in range(0, len(words), _WORDS_A_ROW):
        row = (f"{at + n:3d} {word:<9s}" for n, word in enumerate(words[at : at + _WORDS_A_ROW], 1))
        rows.append(" ".join(row).rstrip())
    return rows


def status(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """How the running node stands; fails when it halted."""
    found = ask_daemon(configuration, StatusRequest(), Status)
    values = _plain_fields(found)
    if args.json:
        say_json(values)
    else:
        say("\n".join(f"{name:22s} {_plain(value)}" for name, value in values.items()))
    return ExitCode.FAILED if found.halted else ExitCode.OK


def _plain_fields(message: msgspec.Struct) -> dict[str, Any]:
    """The fields without the message's tag."""
    return {name: getattr(message, name) for name in message.__struct_fields__}


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        value = [f"{name} {count}" for name, count in value.items()]
    if isinstance(value, list):
        value = ", ".join(value)
    return str(value) if value != "" else "-"


def list_manifests(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """What this node checked; with --waiting only what waits for an operator."""
    listed = ask_daemon(configuration, ListRequest(), Manifests).manifests
    rows = [row for row in listed if not args.waiting or row.state == "waiting"]
    if args.json:
        say_json([_plain_fields(row) for row in rows])
        return ExitCode.OK
    now_s = int(time.time())
    for row in rows:
        say(
            f"{row.state:9s} {shown(row.batch_id)}   {row.payouts} payouts   {row.digest[:16]}"
            f"   expires in {screen.duration(row.expires_at_s - now_s)}"
            f"   {', '.join(row.decisions) or '-'}"
        )
    if not rows:
        say("nothing waits" if args.waiting else "nothing came yet")
    return ExitCode.OK


def show(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """The screen of one manifest."""
    print_view(args, view_of(ask_daemon(configuration, ShowRequest(args.id), Shown)))
    return ExitCode.OK


def print_view(args: argparse.Namespace, view: View) -> None:
    """A screen, or the same facts as JSON."""
    if args.json:
        say_json(as_json(view))
    else:
        say(view.text)


# --- offline ---


def verify(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Digest and facts of a file, worked out offline; with the node's folder, more of them."""
    content = read_file(Path(args.file), MAX_ENVELOPE)
    journal = _offline_journal(configuration)
    try:
        if content.startswith(_PSBT_MAGIC):
            return _verify_psbt(args, content, journal)
        return _verify_manifest(args, content, journal)
    finally:
        if journal is not None:
            journal.close()


def _offline_journal(configuration: Configuration) -> Journal | None:
    """The journal of the node's folder, if one is there, for reading."""
    folder = Folder(configuration.data_dir)
    if not folder.journal.exists() or not Keystore(folder.keys).exists():
        return None
    identity_key = Keystore(folder.keys).sealed(IDENTITY).public
    return Journal(connect_read_only(folder.journal), reader(identity_key))


def _verify_psbt(args: argparse.Namespace, content: bytes, journal: Journal | None) -> ExitCode:
    txid = facts.psbt_txid(content)
    genesis = journal.genesis() if journal is not None else None
    network = genesis.document.network if genesis else network_from_name(args.network)
    known = journal.manifests() if journal is not None else []
    digests = [row.digest for row in known if row.txid == txid]
    outputs = facts.addresses(content, network)
    if args.json:
        say_json(
            {
                "txid": txid_to_hex(txid),
                "manifests": [digest.hex() for digest in digests],
                "outputs": [{"amount_sat": sat, "address": text} for sat, text in outputs],
            }
        )
        return ExitCode.OK
    say(f"TXID     {txid_to_hex(txid)}   [bytes]")
    for number, (amount_sat, text) in enumerate(outputs):
        say(f"  {number:<3d} {screen.bitcoin(amount_sat):<16s} {screen.groups(text)}   [bytes]")
    for digest in digests:
        say(f"DIGEST   {screen.digest_groups(digest)}   [node]")
    if not digests:
        say(
            "no manifest of this transaction is known here: for its digest verify the manifest file"
        )
    return ExitCode.OK


def _verify_manifest(args: argparse.Namespace, content: bytes, journal: Journal | None) -> ExitCode:
    manifest = open_proposal(content).body
    view = _offline_view(content, manifest, journal) if journal is not None else None
    if view is not None:
        print_view(args, view)
        return ExitCode.OK
    return _verify_bare(args, manifest)


def _offline_view(content: bytes, manifest: Body[Manifest], journal: Journal) -> View | None:
    """The whole screen, if the journal knows genesis and vault."""
    genesis = journal.genesis()
    certificate = journal.certificate(manifest.document.certificate)
    if genesis is None or certificate is None:
        return None
    entry = journal.manifest(manifest.digest)
    seat = genesis.document.signer_by_key(journal.identity_key)
    node = screen.NodeFacts(
        node=seat.name if seat is not None else "this node",
        decisions=journal.decisions(manifest.digest),
        journaled_at_s=entry.journaled_at_s if entry is not None else 0,
        tip_height=journal.headers().tip().height,
        state="journaled" if entry is not None else "NOT JOURNALED",
        now_s=int(time.time()),
        knows_replaced=journal.manifest(manifest.document.replaces) is not None,
    )
    return View(facts.review(content, genesis, certificate), genesis, journal.identity_key, node)


def _verify_bare(args: argparse.Namespace, manifest: Body[Manifest]) -> ExitCode:
    """Without genesis and certificate: what the bytes alone say."""
    outputs = facts.addresses(manifest.document.psbt, network_from_name(args.network))
    txid = txid_to_hex(facts.psbt_txid(manifest.document.psbt))
    payouts = {payout.output for payout in manifest.document.payouts}
    if args.json:
        listed = [
            {"amount_sat": sat, "address": text, "claimed_payout": number in payouts}
            for number, (sat, text) in enumerate(outputs)
        ]
        say_json({"digest": manifest.digest.hex(), "txid": txid, "outputs": listed})
        return ExitCode.OK
    say(f"DIGEST   {screen.digest_groups(manifest.digest)}   [bytes]")
    say(f"TXID     {txid}   [bytes]")
    for number, (amount_sat, text) in enumerate(outputs):
        say(f"  {number:<3d} {screen.bitcoin(amount_sat):<16s} {screen.groups(text)}   [bytes]")
        say(f"      {'payout' if number in payouts else 'change'}   [claimed]")
    say("no genesis and vault known here: give --data-dir of a node to derive change and requests")
    return ExitCode.OK


def export(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Write a manifest's PSBT or the whole proposal into a file."""
    found = ask_daemon(configuration, ShowRequest(args.id), Shown)
    psbt = open_proposal(found.proposal).body.document.psbt
    written = []
    for target, content in ((args.psbt, psbt), (args.manifest, found.proposal)):
        if target is not None:
            _write_new(Path(target), content)
            written.append(target)
    if not written:
        raise Refusal(ErrorId.CONFIG_INVALID, "give --psbt FILE, --manifest FILE or both")
    if args.json:
        say_json({"written": written})
    else:
        say(f"wrote {', '.join(written)}")
    return ExitCode.OK


def _write_new(path: Path, content: bytes) -> None:
    try:
        with open(path, "xb") as file:
            file.write(content)
    except OSError as fault:
        raise Refusal(ErrorId.FILE_UNREADABLE, f"{path}: {fault.strerror}") from None
