"""`signer-node`: the command line. What each command does stands in its own function."""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from signer_node.console.terminal import complain
from signer_node.daemon import look_commands as look
from signer_node.daemon import operator_commands as operator
from signer_node.daemon.config import Configuration, load
from signer_node.kernel.documents.manifest import RejectReason
from signer_node.kernel.errors import ExitCode, Refusal

_SETTINGS: Final = (
    "data_dir", "coordinator", "credentials_dir", "heartbeat_s", "poll_wait_ms", "log_level",
    "metrics_file", "notice_file",
)  # fmt: skip
_LEAST_KDF: Final = 10
_MOST_KDF: Final = 20

Command = Callable[[argparse.Namespace, Configuration], ExitCode]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is the catalogue's. Memory with keys is never dumped."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    args = _parser().parse_args(argv)
    try:
        flags = {name: getattr(args, name, None) for name in _SETTINGS}
        command: Command = args.command
        return int(command(args, load(args.config, flags)).value)
    except Refusal as refusal:
        complain(refusal)
        return int(refusal.error.value.exit_code.value)
    except KeyboardInterrupt:
        return int(ExitCode.FAILED.value)


def _node(name: str) -> Command:
    """A command of node_commands, imported when it runs: the others start in half the time."""

    def run(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
        from signer_node.daemon import node_commands

        command: Command = getattr(node_commands, name)
        return command(args, configuration)

    return run


def _vault(name: str) -> Command:
    """A command of vault_commands, likewise."""

    def run(args: argparse.Namespace, configuration: Configuration) -> ExitCode:
        from signer_node.daemon import vault_commands

        command: Command = getattr(vault_commands, name)
        return command(args, configuration)

    return run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="signer-node", description="A node of a signing quorum: checks, asks, signs."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_node_commands(commands)
    _add_run(commands)
    _add_safe_keeping(commands)
    _add_looks(commands)
    _add_decisions(commands)
    _add_vaults(commands)
    return parser


def _add(commands: Any, name: str, command: Command, text: str) -> argparse.ArgumentParser:
    """A command with the flags that all have."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, allow_abbrev=False
    )
    parser.set_defaults(command=command)
    parser.add_argument("--config", metavar="FILE", help="TOML file; flags win over it")
    parser.add_argument("--data-dir", metavar="DIR", help="the node's folder")
    parser.add_argument("--json", action="store_true", help="report as one JSON document")
    return parser


def _passphrase(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--passphrase-fd", type=int, metavar="N", help="read the passphrase from this descriptor"
    )
    parser.add_argument(
        "--credentials-dir", metavar="DIR", help="read it from DIR/passphrase (systemd's folder)"
    )


def _kdf(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kdf-log2-n", type=_kdf_cost, default=17, metavar="N",
        help="scrypt's cost, log2 (default 17; less only for tests)",
    )  # fmt: skip


def _kdf_cost(text: str) -> int:
    cost = int(text)
    if not _LEAST_KDF <= cost <= _MOST_KDF:
        raise argparse.ArgumentTypeError(f"between {_LEAST_KDF} and {_MOST_KDF}")
    return cost


def _add_node_commands(commands: Any) -> None:
    parser = _add(commands, "init", _node("init"), "make the node's keys")
    _passphrase(parser)
    _kdf(parser)
    people = commands.add_parser("operator", help="operators' approval keys").add_subparsers(
        required=True, metavar="COMMAND"
    )
    parser = _add(people, "create", _node("create_operator"), "make an operator's approval key")
    parser.add_argument("--person", required=True)
    parser.add_argument("--role", required=True)
    parser.add_argument("--out", required=True, metavar="FILE")
    _passphrase(parser)
    _kdf(parser)
    parser = _add(commands, "enroll", _node("enroll"), "take the slot that a one-time token opens")
    token = parser.add_mutually_exclusive_group(required=True)
    token.add_argument("--token", help="custodyd1.X.Y, as the coordinator gave it")
    token.add_argument("--token-file", metavar="FILE")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="its enrolment port")
    parser.add_argument(
        "--operator", action="append", metavar="FILE", help="an operator's card (FILE.pub), again"
    )
    _passphrase(parser)
    parser = _add(commands, "renew", _node("renew"), "get a newer transport certificate")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="its mTLS port")
    _passphrase(parser)
    _add(commands, "version", _node("show_version"), "the installed version")


def _add_run(commands: Any) -> None:
    parser = _add(commands, "run", _node("run_daemon"), "run the node until SIGTERM")
    _settings(parser)
    parser.add_argument("--check-config", action="store_true", help="read the settings and end")
    _passphrase(parser)
    config = commands.add_parser("config", help="settings").add_subparsers(
        required=True, metavar="COMMAND"
    )
    parser = _add(config, "show", _node("show_config"), "every setting and where it came from")
    _settings(parser)
    parser.add_argument("--credentials-dir", metavar="DIR")


def _settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="its mTLS port")
    parser.add_argument("--heartbeat-s", type=float, metavar="S")
    parser.add_argument("--poll-wait-ms", type=int, metavar="MS")
    parser.add_argument("--log-level", metavar="LEVEL")
    parser.add_argument("--metrics-file", metavar="FILE")
    parser.add_argument("--notice-file", metavar="FILE")


def _add_safe_keeping(commands: Any) -> None:
    parser = _add(commands, "passphrase", _node("change_passphrase"), "change the passphrase")
    _passphrase(parser)
    parser.add_argument("--new-passphrase-fd", type=int, metavar="N")
    _kdf(parser)
    parser = _add(commands, "backup", _node("back_up"), "write keys (sealed) and journal to a file")
    parser.add_argument("file")
    parser = _add(commands, "restore", _node("restore"), "make a node of a backup")
    parser.add_argument("file")
    journal = commands.add_parser("journal", help="the journal").add_subparsers(
        required=True, metavar="COMMAND"
    )
    _add(journal, "verify", _node("verify_journal"), "verify every record, replay the projections")


def _add_looks(commands: Any) -> None:
    genesis = commands.add_parser("genesis", help="the quorum's beginning").add_subparsers(
        required=True, metavar="COMMAND"
    )
    _add(genesis, "show", look.genesis_show, "the genesis that came, and its 24 words")
    parser = _add(genesis, "confirm", operator.genesis_confirm, "bind the node to the genesis")
    parser.add_argument("--words", help="the 24 words; asked for when not given")
    _add(commands, "status", look.status, "how the node stands")
    parser = _add(commands, "list", look.list_manifests, "the manifests that this node checked")
    parser.add_argument("--waiting", action="store_true", help="only what waits for an operator")
    parser = _add(commands, "show", look.show, "the screen of one manifest")
    parser.add_argument("id", help="batch id, or the first digits of the digest")
    parser = _add(commands, "verify", look.verify, "work out a manifest or PSBT file offline")
    parser.add_argument("file")
    parser.add_argument("--network", choices=("main", "signet", "regtest"), default="main")
    parser = _add(commands, "export", look.export, "write a manifest or its PSBT to a file")
    parser.add_argument("id")
    parser.add_argument("--psbt", metavar="FILE")
    parser.add_argument("--manifest", metavar="FILE")


def _add_decisions(commands: Any) -> None:
    parser = _add(commands, "approve", operator.approve, "look at a manifest and approve it")
    parser.add_argument("id", help="batch id, or the first digits of the digest")
    parser.add_argument("--key", required=True, metavar="FILE", help="your sealed approval key")
    parser.add_argument(
        "--confirm",
        metavar="GROUP",
        help="the last group, for scripts; id is the whole digest",
    )
    _passphrase(parser)
    parser = _add(commands, "reject", operator.reject, "reject a manifest, with a reason")
    parser.add_argument("id", help="batch id, or the first digits of the digest")
    parser.add_argument("--key", required=True, metavar="FILE", help="your sealed approval key")
    reasons = [
        one.name.lower().replace("_", "-")
        for one in RejectReason
        if one not in (RejectReason.UNKNOWN, RejectReason.NONE)
    ]
    parser.add_argument("--reason", required=True, choices=reasons)
    parser.add_argument("--text", default="", help="why, in your own words")
    parser.add_argument("--outputs", metavar="1,2", help="only these payouts; none: the batch")
    _passphrase(parser)


def _add_vaults(commands: Any) -> None:
    vault = commands.add_parser("vault", help="vaults and their key generation").add_subparsers(
        required=True, metavar="COMMAND"
    )
    _add(vault, "list", _vault("vault_list"), "the vaults of this node, and what waits for you")
    parser = _add(vault, "show", _vault("vault_show"), "who makes a vault's key together")
    parser.add_argument("vault")
    parser = _add(
        vault, "confirm", _vault("vault_confirm"), "look at who makes a vault's key, and take part"
    )
    parser.add_argument("vault")
    parser.add_argument("--yes", metavar="FINGERPRINT", help="the whole fingerprint, for scripts")
    parser.add_argument("--entropy-file", metavar="FILE", help="mix this into the randomness")
    parser.add_argument("--dice", action="store_true", help="mix in what you type")
    _passphrase(parser)
    parser = _add(
        vault, "recovery", _vault("vault_recovery"), "write a vault's recovery data to a file"
    )
    parser.add_argument("vault")
    parser.add_argument("--out", required=True, metavar="FILE")
    _passphrase(parser)
    parser = _add(
        commands, "recover", _vault("recover"), "give a node that lost it its share again"
    )
    parser.add_argument("recovery_data", metavar="RECOVERY_DATA")
    parser.add_argument("--certificate", required=True, metavar="FILE", help="the vault's")
    parser.add_argument("--genesis", metavar="FILE", help="for a node that lost its journal too")
    parser.add_argument("--words", help="the 24 words; asked for when not given")
    _passphrase(parser)


if __name__ == "__main__":
    sys.exit(main())
