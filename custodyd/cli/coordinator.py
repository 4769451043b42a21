"""The coordinator at its own host: init, run, config, token, genesis, migrate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from custodyd.cli.passphrase import read_text_file
from custodyd.cli.screen import Screen, command, word_lines
from custodyd.daemon import config as settings
from custodyd.daemon import setup
from custodyd.errors import CustodydError, ErrorId
from signer_node.kernel.bitcoin.words import words_from_digest
from signer_node.kernel.documents.genesis import Genesis, quorum_figures
from signer_node.kernel.documents.signed import Body

DEFAULT_DATA_DIR: Final = Path("/var/lib/custodyd")
ROLES: Final = ("signer", "backend", "admin")

C = TypeVar("C", bound=Callable[..., Any])


def data_dir_option(function: C) -> C:
    """The option that names the coordinator's folder."""
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        default=DEFAULT_DATA_DIR,
        show_default=True,
        help="the coordinator's folder",
    )(function)


def set_option(function: C) -> C:
    """The option that overrides a key of the configuration file."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="a key of the configuration, e.g. batches.max_age_s=5; wins over the file",
    )(function)


def overrides_of(pairs: Sequence[str]) -> dict[str, str]:
    """Keys and values; raises CONFIG_INVALID for one without `=`."""
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise CustodydError(ErrorId.CONFIG_INVALID, f"--set {pair}: wanted is KEY=VALUE")
        found[key] = value
    return found


@click.command()
@data_dir_option
@click.option("--network", type=click.Choice(("main", "signet", "regtest")), required=True)
@click.option("--chain", default="127.0.0.1:8332", show_default=True, metavar="HOST:PORT")
@click.option("--chain-credentials-file", default="", help="file with user:password")
@click.option(
    "--store-url-file",
    type=click.Path(path_type=Path),
    help="file with the database's URL (postgresql://...); SQLite in the folder without it",
)
@click.option(
    "--settings-file",
    type=click.Path(path_type=Path),
    help="TOML tables to begin the configuration with, e.g. [batches]",
)
@command
def init(
    screen: Screen,
    data_dir: Path,
    network: str,
    chain: str,
    chain_credentials_file: str,
    store_url_file: Path | None,
    settings_file: Path | None,
) -> None:
    """Make a coordinator: keys, certificate authority, configuration, database."""
    host, port = settings.split_address(chain, "--chain")
    setup.init(
        setup.InitOptions(
            data_dir=data_dir,
            network=network,
            chain_host=host,
            chain_port=port,
            chain_credentials_file=chain_credentials_file,
            store_url=read_text_file(store_url_file) if store_url_file else "",
            more=f"{read_text_file(settings_file)}\n" if settings_file else "",
        )
    )
    settings.load_config(data_dir)
    screen.line(f"made a coordinator in {data_dir}")
    screen.line("next: custodyd token create --slot signer:NAME, backend:NAME, admin:NAME")
    screen.done({"data_dir": str(data_dir)})


@click.command()
@data_dir_option
@set_option
@click.option("--check-config", is_flag=True, help="check the configuration and end")
@command
def run(screen: Screen, data_dir: Path, overrides: tuple[str, ...], check_config: bool) -> None:
    """Run the coordinator until SIGTERM."""
    given = overrides_of(overrides)
    if check_config:
        settings.check_config(data_dir, given)
        screen.line("the configuration is good")
        screen.done({"ok": True})
        return
    # Servers and stages are loaded by the one command that runs them.
    from custodyd.daemon import run as daemon

    daemon.run(data_dir, given)
    screen.done({"stopped": True})


@click.group()
def config() -> None:
    """The coordinator's configuration: default < custodyd.toml < --set."""


@config.command("check")
@data_dir_option
@set_option
@command
def config_check(screen: Screen, data_dir: Path, overrides: tuple[str, ...]) -> None:
    """Check every key, and the files that they name."""
    settings.check_config(data_dir, overrides_of(overrides))
    screen.line("the configuration is good")
    screen.done({"ok": True})


@config.command("show")
@data_dir_option
@set_option
@command
def config_show(screen: Screen, data_dir: Path, overrides: tuple[str, ...]) -> None:
    """Every key with its value (secrets masked) and where it came from."""
    found = settings.show_config(settings.load_config(data_dir, overrides_of(overrides)))
    screen.table(("key", "value", "from"), found)
    screen.done({key: {"value": value, "origin": origin} for key, value, origin in found})


@click.group()
def token() -> None:
    """Slots of the quorum, each opened once by a token."""


@token.command("create")
@data_dir_option
@click.option(
    "--slot",
    "slots",
    multiple=True,
    required=True,
    metavar="ROLE:NAME",
    help="signer:s1, backend:exchange, admin:sre; may be given again",
)
@click.option("--renew", is_flag=True, help="new tokens for slots that nobody took yet")
@command
def token_create(screen: Screen, data_dir: Path, slots: tuple[str, ...], renew: bool) -> None:
    """Make slots; prints their one-time tokens, once."""
    named = [_slot(slot) for slot in slots]
    make = setup.renew_token if renew else setup.add_slot
    tokens = {}
    for slot, (role, name) in zip(slots, named, strict=True):
        tokens[slot] = make(data_dir, role, name)
        screen.line(tokens[slot] if len(slots) == 1 else f"{slot} {tokens[slot]}")
    screen.done({"tokens": tokens})


@token.command("list")
@data_dir_option
@command
def token_list(screen: Screen, data_dir: Path) -> None:
    """All slots, taken or not. Tokens are not shown again."""
    found = [
        {"slot": f"{one.identity.role.value}:{one.identity.name}", "taken": bool(one.enrolment)}
        for one in setup.list_slots(data_dir)
    ]
    rows = [(str(one["slot"]), "taken" if one["taken"] else "open") for one in found]
    screen.table(("slot", ""), rows)
    screen.done({"slots": found})


def _slot(slot: str) -> tuple[str, str]:
    role, colon, name = slot.partition(":")
    if role not in ROLES or not colon:
        raise CustodydError(
            ErrorId.ARGUMENT_INVALID,
            f"--slot {slot}: wanted is one of {', '.join(ROLES)}, : and a name",
        )
    return role, name


@click.group()
def genesis() -> None:
    """Policy 0 of the quorum: its 24 words are compared at every node and at the backend."""


@genesis.command("create")
@data_dir_option
@click.option("--rules", type=click.Path(path_type=Path), required=True, help="TOML file of rules")
@command
def genesis_create(screen: Screen, data_dir: Path, rules: Path) -> None:
    """Write the genesis of all slots, once; every slot must be taken."""
    _say_genesis(screen, setup.create_genesis(data_dir, rules))


@genesis.command("show")
@data_dir_option
@command
def genesis_show(screen: Screen, data_dir: Path) -> None:
    """Who takes part, by which rules, and the words."""
    _say_genesis(screen, setup.show_genesis(data_dir))


@genesis.command("words")
@data_dir_option
@command
def genesis_words(screen: Screen, data_dir: Path) -> None:
    """The 24 words alone."""
    body = setup.show_genesis(data_dir)
    words = words_from_digest(body.digest)
    screen.line(" ".join(words))
    screen.done({"digest": body.digest.hex(), "words": list(words)})


def _say_genesis(screen: Screen, body: Body[Genesis]) -> None:
    found = body.document
    figures = quorum_figures(found.threshold, len(found.signers))
    words = words_from_digest(body.digest)
    screen.line(
        f"{found.label}: {found.threshold} of {len(found.signers)}, f = {found.corrupt_max}"
    )
    screen.line(
        f"f_theft = {figures.f_theft}, f_once = {figures.f_once}, f_live = {figures.f_live}"
    )
    for seat in found.operators:
        screen.line(f"operator {seat.person} ({seat.role}) at {seat.node}")
    for line in word_lines(words):
        screen.line(f"  {line}")
    screen.line("compare the words out of band, at every node and at the backend")
    screen.done(
        {
            "digest": body.digest.hex(),
            "words": list(words),
            "threshold": found.threshold,
            "signers": [seat.name for seat in found.signers],
            "operators": [seat.person for seat in found.operators],
        }
    )


@click.command()
@data_dir_option
@command
def migrate(screen: Screen, data_dir: Path) -> None:
    """Bring the database to this version's schema."""
    setup.migrate_database(data_dir)
    screen.line("the database has this version's schema")
    screen.done({"ok": True})
