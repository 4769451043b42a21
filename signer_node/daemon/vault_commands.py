"""Commands about vaults. The host key is opened here, in the operator's process, and handed to the
daemon over the node's own socket, for one key generation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from signer_node.adapters.folder import Folder, read_file
from signer_node.adapters.keystore import HOST, Keystore
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
from signer_node.daemon.config import Configuration
from signer_node.daemon.look_commands import ask_daemon
from signer_node.daemon.passphrase import passphrase_source, read_passphrase
from signer_node.kernel.errors import ErrorId, ExitCode, Refusal

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
