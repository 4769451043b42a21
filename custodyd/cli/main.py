"""The `custodyd` command. Each word loads its own module, so that a client needs no database."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as installed_version
from typing import Final

import click
from stamina import instrumentation

from custodyd.cli.screen import Screen, Trouble, command, fail

# Word -> module, attribute, help; in the order in which `custodyd --help` shows them.
COMMANDS: Final = {
    "init": ("coordinator", "init", "Make a coordinator: keys, certificate authority, database."),
    "run": ("coordinator", "run", "Run the coordinator until SIGTERM."),
    "config": ("coordinator", "config", "Check or show the coordinator's configuration."),
    "token": ("coordinator", "token", "Open slots of the quorum by one-time tokens."),
    "genesis": ("coordinator", "genesis", "Write policy 0 of the quorum; show its words."),
    "migrate": ("coordinator", "migrate", "Bring the database to this version's schema."),
    "devnet": ("devnet", "devnet", "Run a regtest Bitcoin node on loopback."),
    "admin": ("backend", "admin", "An SRE's own access to the coordinator."),
    "backend": ("backend", "backend", "The exchange's side: keys, trust, its own process."),
    "certificate": ("backend", "certificate", "The transport certificate of a client."),
    "vault": ("operations", "vault", "Make, show and export vaults."),
    "address": ("payments", "address", "Deposit addresses, derived from the certificate."),
    "deposits": ("payments", "deposits", "What came in, and what was credited by proof."),
    "withdraw": ("payments", "withdraw", "Ask for one payment, or for a file of them."),
    "withdrawals": ("payments", "withdrawals", "List, show and follow withdrawals."),
    "holds": ("operations", "holds", "Release what an operator's rejection holds."),
    "batches": ("operations", "batches", "What is being paid together."),
    "balance": ("operations", "balance", "What a vault holds, as the coordinator counts."),
    "status": ("operations", "status", "Chain, signers, last event."),
}
# Packages that only an extra of the distribution brings.
EXTRAS: Final = {
    "sqlalchemy": "coordinator",
    "alembic": "coordinator",
    "structlog": "coordinator",
    "prometheus_client": "coordinator",
    "grpc_health": "coordinator",
    "grpc_reflection": "coordinator",
    "psycopg": "postgres",
    "pbk": "devnet",
}
EXIT_CONFIGURATION: Final = 5


class Words(click.Group):
    """Loads a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The words, in their order."""
        return [*COMMANDS, "version"]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of words, without loading what they need."""
        rows = [(word, text) for word, (_module, _name, text) in COMMANDS.items()]
        with formatter.section("Commands"):
            formatter.write_dl([*rows, ("version", "Say the version.")])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a word."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, attribute, _help = COMMANDS[cmd_name]
        try:
            found = getattr(import_module(f"custodyd.cli.{module}"), attribute)
        except ModuleNotFoundError as missing:
            extra = EXTRAS.get((missing.name or "").partition(".")[0])
            if extra is None:
                raise
            _missing_extra(missing.name or "", extra)
        if not isinstance(found, click.Command):
            raise TypeError(f"custodyd.cli.{module}.{attribute} is no command")
        return found


def _missing_extra(package: str, extra: str) -> None:
    fail(
        Trouble(
            "PACKAGE_MISSING",
            f"this command needs {package}, which is not installed",
            f"install custodyd[{extra}]",
            EXIT_CONFIGURATION,
        ),
        as_json=False,
    )


@click.command(cls=Words, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Bitcoin custody by a quorum: the coordinator and the exchange's side."""
    # Left alone, stamina tells of retries on standard output, where the answer stands.
    instrumentation.set_on_retry_hooks([])


@main.command("version")
@command
def version(screen: Screen) -> None:
    """Say the version."""
    number = installed_version("custodyd")
    screen.line(f"custodyd {number}")
    screen.done({"version": number})


if __name__ == "__main__":
    main()
