"""What an SRE does before the daemon runs: folder, slots, genesis. One call for each command."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from custodyd.api import slots
from custodyd.api.certificates import make_authority, open_authority
from custodyd.api.identity import Identity, parse_identity
from custodyd.daemon.config import Loaded, load_config
from custodyd.daemon.files import (
    DataFolder,
    new_secret_key,
    write_private,
    write_public,
)
from custodyd.daemon.genesis import build_genesis, read_rules
from custodyd.errors import CustodydError, ErrorId
from custodyd.store import Store, open_store
from custodyd.store.facts import GENESIS, PAGE_KEY, get_fact, put_fact
from custodyd.store.incarnation import Sidecar, begin_boot
from custodyd.store.migrate import migrate, require_schema
from signer_node.kernel import curve
from signer_node.kernel.bitcoin.network import network_from_name
from signer_node.kernel.documents.genesis import Genesis
from signer_node.kernel.documents.signed import Body
from signer_node.wire import decode_body

FOLDER_MODE: Final = 0o700
PAGE_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class InitOptions:
    """What `init` writes into the configuration; `more` is TOML that follows it."""

    data_dir: Path
    network: str
    chain_host: str = "127.0.0.1"
    chain_port: int = 8_332
    chain_credentials_file: str = ""
    store_url: str = ""
    more: str = ""


def init(options: InitOptions) -> None:
    """Make the data folder: keys, transport authority, configuration, database.

    Raises ALREADY_INITIALISED when one is there; what is written last is the configuration, so that
    an interrupted init leaves no folder that looks ready.
    """
    folder = DataFolder(options.data_dir)
    if folder.config.exists():
        raise CustodydError(ErrorId.ALREADY_INITIALISED, str(options.data_dir))
    _check_options(options)
    options.data_dir.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    options.data_dir.chmod(FOLDER_MODE)
    for half_made in (folder.authority_key, folder.authority_certificate, folder.envelope_key):
        half_made.unlink(missing_ok=True)
    folder.replica.unlink(missing_ok=True)
    authority = make_authority()
    write_private(folder.authority_key, authority.private_key)
    write_public(folder.authority_certificate, authority.certificate)
    write_private(folder.envelope_key, new_secret_key().hex().encode() + b"\n")
    write_public(folder.replica, secrets.token_hex(8).encode())
    _make_database(options, folder)
    write_private(folder.config, _config_text(options).encode())


def migrate_database(data_dir: Path) -> None:
    """Bring the database's schema to this version."""
    store = open_store(load_config(data_dir).store_url())
    migrate(store)
    store.close()


def add_slot(data_dir: Path, role: str, name: str) -> str:
    """Make a slot; returns its one-time token, which is shown once."""
    identity = _identity(role, name)
    with opened(data_dir) as (loaded, store), store.transaction() as connection:
        fingerprint = open_authority(loaded.folder.authority()).fingerprint
        return slots.create_slot(connection, identity, fingerprint, now_s())


def renew_token(data_dir: Path, role: str, name: str) -> str:
    """A new token for a slot that nobody took yet."""
    identity = _identity(role, name)
    with opened(data_dir) as (loaded, store), store.transaction() as connection:
        fingerprint = open_authority(loaded.folder.authority()).fingerprint
        return slots.renew_token(connection, identity, fingerprint)


def list_slots(data_dir: Path) -> list[slots.Slot]:
    """All slots, filled or not."""
    with opened(data_dir) as (_, store), store.reading() as connection:
        return slots.list_slots(connection)


def create_genesis(data_dir: Path, rules_file: Path) -> Body[Genesis]:
    """Make the genesis of all slots, once. Raises GENESIS_EXISTS, SLOTS_UNFILLED, CONFIG_INVALID,
    or the kernel's Refusal GENESIS_INVALID."""
    rules = read_rules(rules_file)
    with opened(data_dir) as (loaded, store), store.transaction() as connection:
        if get_fact(connection, GENESIS) is not None:
            raise CustodydError(ErrorId.GENESIS_EXISTS)
        key = curve.xonly_from_secret(loaded.folder.envelope_secret())
        body = build_genesis(slots.list_slots(connection), rules, loaded.network, key, now_s())
        put_fact(connection, GENESIS, body.raw)
        return body


def show_genesis(data_dir: Path) -> Body[Genesis]:
    """The genesis; raises GENESIS_MISSING."""
    with opened(data_dir) as (_, store), store.reading() as connection:
        raw = get_fact(connection, GENESIS)
    if raw is None:
        raise CustodydError(ErrorId.GENESIS_MISSING)
    return decode_body(Genesis, bytes(raw))


@contextmanager
def opened(data_dir: Path) -> Iterator[tuple[Loaded, Store]]:
    """Configuration and store, for one command."""
    loaded = load_config(data_dir)
    loaded.folder.require_initialised()
    store = open_store(loaded.store_url())
    try:
        require_schema(store)
        yield loaded, store
    finally:
        store.close()


def now_s() -> int:
    """Seconds since 1970."""
    return int(time.time())


def _identity(role: str, name: str) -> Identity:
    try:
        return parse_identity(f"spiffe://custodyd/{role}/{name}")
    except CustodydError:
        raise CustodydError(
            ErrorId.ARGUMENT_INVALID,
            f"{role}/{name}: a role and a name of a-z, 0-9 and - that begins with a letter",
        ) from None


def _check_options(options: InitOptions) -> None:
    try:
        network_from_name(options.network)
    except ValueError as bad:
        raise CustodydError(ErrorId.CONFIG_INVALID, f"network: {bad}") from None


def _make_database(options: InitOptions, folder: DataFolder) -> None:
    store = open_store(options.store_url or f"sqlite:///{folder.database}")
    try:
        migrate(store)
        begin_boot(store, Sidecar(folder.sidecar), now_s())
        with store.transaction() as connection:
            if get_fact(connection, PAGE_KEY) is None:
                put_fact(connection, PAGE_KEY, secrets.token_bytes(PAGE_KEY_BYTES))
    finally:
        store.close()


def _config_text(options: InitOptions) -> str:
    lines = [
        "# custodyd: keys and defaults are in docs/reference/config.md.",
        f"network = {_quoted(options.network)}",
        "",
    ]
    # TOML wants a table's keys behind the top level's, so `more` may hold tables only.
    if options.store_url:
        lines += ["[store]", f"url = {_quoted(options.store_url)}", ""]
    lines += [
        "[chain]",
        f"host = {_quoted(options.chain_host)}",
        f"port = {options.chain_port}",
        f"credentials_file = {_quoted(options.chain_credentials_file)}",
        "",
    ]
    return "\n".join(lines) + options.more


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
