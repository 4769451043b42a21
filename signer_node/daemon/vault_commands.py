"""Commands about vaults. The host key is opened here, in the operator's process, and handed to the
daemon over the node's own socket, for one key generation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from signer_node.adapters.clock import Clock
from signer_node.adapters.entropy import boot_id
from signer_node.adapters.folder import Folder, locked, read_file, write_file
from signer_node.adapters.journal import Journal, Writer, connect, connect_read_only, reader
from signer_node.adapters.keystore import HOST, IDENTITY, VAULT_ROOT, Keystore
from signer_node.adapters.shares import ShareFiles, ShareName, share_sealing_key
from signer_node.console import keygen_screen
from signer_node.console.messages import (
    ConfirmVaultRequest,
    VaultRequest,
    Vaults,
    VaultShown,
    VaultsRequest,
)
from signer_node.console.server import ask
from signer_node.console.terminal import ask as ask_person
from signer_node.console.terminal import say, say_json
from signer_node.core import ceremony
from signer_node.core import node as core
from signer_node.core.ledger import Node
from signer_node.daemon.config import Configuration
from signer_node.daemon.look_commands import ask_daemon
from signer_node.daemon.passphrase import passphrase_source, read_passphrase
from signer_node.daemon.run import open_keys
from signer_node.kernel.documents.vault import KeygenOutcome
from signer_node.kernel.errors import ErrorId, ExitCode, Refusal

QUARANTINE: Final = (
    "QUARANTINE: this node does not know what it signed before; it signs requests issued from now\n"
    "on. The node that it replaces must never run again."
)
MAX_ENTROPY: Final = 64 * 1024
MIN_ENTROPY: Final = 16


def vault_list(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """The vaults that this node takes part in, and those that wait for its operator."""
    rows = ask_daemon(configuration, VaultsRequest(), Vaults).vaults
    if args.json:
        say_json([{name: getattr(row, name) for name in row.__struct_fields__} for row in rows])
        return ExitCode.OK
    for row in rows:
        attempt = f", attempt {row.attempt}" if row.attempt else ""
        say(f"{row.state:12s} {row.vault}, epoch {row.epoch}, {row.kind}{attempt}")
    if not rows:
        say("no vault was proposed yet")
    return ExitCode.OK


def vault_show(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """The screen of a key generation."""
    view = keygen_screen.keygen_view(
        ask_daemon(configuration, VaultRequest(args.vault), VaultShown)
    )
    if args.json:
        say_json(keygen_screen.as_json(view))
    else:
        say(view.text)
    return ExitCode.OK


def vault_confirm(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Show who makes the key together, ask, open the host key for it, hand it over."""
    folder = Folder(configuration.data_dir)
    shown = ask_daemon(configuration, VaultRequest(args.vault), VaultShown)
    view = keygen_screen.keygen_view(shown)
    if args.yes is not None:
        keygen_screen.require_fingerprint(view, args.yes, whole=True)
    else:
        say(view.text)
        say()
        typed = ask_person("to take part, type the last group of the fingerprint: ")
        keygen_screen.require_fingerprint(view, typed, whole=False)
    entropy = _operator_entropy(args)
    passphrase = read_passphrase(passphrase_source(args, configuration))
    host = Keystore(folder.keys).open(HOST, passphrase)
    proposal = view.proposal
    ask(folder.socket, ConfirmVaultRequest(proposal.vault, proposal.epoch, host.value, entropy))
    if args.json:
        say_json({"vault": proposal.vault, "attempt": proposal.attempt, "confirmed": True})
    else:
        say(f"confirmed: this node takes part in making the key of {proposal.vault}")
    return ExitCode.OK


def vault_recovery(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Write a vault's recovery data into a file, for a node that lost its own."""
    folder = Folder(configuration.data_dir)
    root = Keystore(folder.keys).open(
        VAULT_ROOT, read_passphrase(passphrase_source(args, configuration))
    )
    shares = ShareFiles(folder.shares, share_sealing_key(root.value))
    identity_key = Keystore(folder.keys).sealed(IDENTITY).public
    journal = Journal(connect_read_only(folder.journal), reader(identity_key))
    try:
        outcome = _outcome(journal, args.vault)
    finally:
        journal.close()
    name = ShareName(outcome.vault, outcome.epoch, outcome.frost.recovery)
    write_file(Path(args.out), shares.recovery_data(name))
    if args.json:
        say_json({"file": args.out, "recovery": outcome.frost.recovery.hex()})
    else:
        say(f"wrote {args.out}: confidential; with a node's host key it gives that node's share")
    return ExitCode.OK


def _outcome(journal: Journal, vault: str) -> KeygenOutcome:
    found = [one.outcome for one in journal.keygens() if one.proposal.vault == vault]
    if not found or found[-1] is None:
        raise Refusal(ErrorId.SUBJECT_NOT_FOUND, f"no key of {vault} was made here")
    return found[-1]


def recover(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
    """Give a node its share again, from its host key and the recovery data; it is quarantined.

    The daemon must not run. The keys are those of a backup; the journal may be lost.
    """
    folder = Folder(configuration.data_dir)
    recovery_data = read_file(Path(args.recovery_data))
    certificate = read_file(Path(args.certificate))
    keystore = Keystore(folder.keys)
    host_key = keystore.sealed(HOST).public
    with locked(folder.root):
        passphrase = read_passphrase(passphrase_source(args, configuration))
        secrets = open_keys(folder, passphrase).secrets
        host = keystore.open(HOST, passphrase)
        identity_key = keystore.sealed(IDENTITY).public
        boot = boot_id()
        journal = Journal(
            connect(folder.journal), Writer(identity_key, secrets.sign_identity, boot)
        )
        node = Node(identity_key, host_key, boot, journal, secrets)
        now_s = Clock(not_before_s=journal.head().written_at_s).now_s()
        if journal.genesis() is None:
            if args.genesis is None:
                raise Refusal(ErrorId.GENESIS_NOT_CONFIRMED, "give --genesis FILE")
            words = args.words or ask_person("the 24 words of the genesis: ")
            raw = read_file(Path(args.genesis))
            journal.commit(core.confirm_genesis(node, raw, words), now_s)
        vault = ceremony.recover(node, certificate, recovery_data, host.value)
        journal.commit(vault, now_s)
        journal.close()
    if args.json:
        say_json({"recovered": True, "quarantined_since_s": now_s})
    else:
        say(f"the share is here again\n{QUARANTINE}")
    return ExitCode.OK


def _operator_entropy(args: argparse.Namespace) -> bytes:
    """What the operator adds to the system's randomness; nothing by default."""
    parts = []
    if args.entropy_file:
        parts.append(read_file(Path(args.entropy_file), MAX_ENTROPY))
    if args.dice:
        parts.append(ask_person("throws of dice, or any line that nobody can guess: ").encode())
    if any(len(part) < MIN_ENTROPY for part in parts):
        raise Refusal(ErrorId.CONFIG_INVALID, f"entropy of less than {MIN_ENTROPY} characters")
    return b"\n".join(parts)
