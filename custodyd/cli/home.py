"""The folder of a client: its configuration, its certificate, and for a backend its ledger.

`client.toml`; unknown keys fail; nothing comes from the environment:

    [coordinator]
    address = "127.0.0.1:18550"
    [chain]
    address = "127.0.0.1:18543"
    credentials_file = "/path/to/.cookie"
    [backend]
    credit_depth = 6
    final_depth = 6
    poll_s = 1.0
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from custodyd.chain.rpc import ChainRpc, RpcEndpoint
from custodyd.cli.chain import RpcChainSource
from custodyd.client.backend import BackendSettings
from custodyd.client.connection import Coordinator, load_transport
from custodyd.client.ledger import ClientLedger
from custodyd.client.sealing import replace_private
from custodyd.errors import CustodydError, ErrorId

CONFIG_FILE: Final = "client.toml"
LEDGER_FILE: Final = "ledger.sqlite3"
DEFAULT_HOME: Final = Path("~/.custodyd")
MAX_CONFIG_BYTES: Final = 65_536
MAX_DEPTH: Final = 1_000

C = TypeVar("C", bound=Callable[..., Any])


class CoordinatorSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where the coordinator's mTLS port is."""

    address: str = ""


class ChainSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The chain node that the client looks at; the file holds `user:password`."""

    address: str = ""
    credentials_file: str = ""


class BackendSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Depths in confirmations; how often to look, in seconds."""

    credit_depth: int = 6
    final_depth: int = 6
    poll_s: float = 1.0


class ClientConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """All of client.toml."""

    coordinator: CoordinatorSection = CoordinatorSection()
    chain: ChainSection = ChainSection()
    backend: BackendSection = BackendSection()


@dataclass(frozen=True, slots=True)
class Home:
    """A client's folder with its configuration."""

    folder: Path
    config: ClientConfig

    def coordinator(self, *, patient: bool = True) -> Coordinator:
        """The coordinator, by this folder's certificate."""
        if not self.config.coordinator.address:
            raise CustodydError(ErrorId.CLIENT_NOT_ENROLLED, str(self.folder))
        transport = load_transport(self.folder, self.config.coordinator.address)
        return Coordinator(transport, patient=patient)

    def ledger(self) -> ClientLedger:
        """The backend's ledger."""
        if not (self.folder / "identity.json").exists():
            raise CustodydError(ErrorId.CLIENT_NOT_INITIALISED, str(self.folder))
        path = self.folder / LEDGER_FILE
        if not path.exists():
            path.touch(mode=0o600)
        return ClientLedger(path)

    def chain(self) -> RpcChainSource:
        """The chain node."""
        section = self.config.chain
        host, _colon, port = section.address.rpartition(":")
        if not host or not port.isdigit() or not section.credentials_file:
            raise CustodydError(
                ErrorId.CONFIG_INVALID, f"{self.folder / CONFIG_FILE}: [chain] names no node"
            )
        return RpcChainSource(
            ChainRpc(RpcEndpoint(host, int(port), Path(section.credentials_file)))
        )

    def settings(self) -> BackendSettings:
        """How the backend's process works."""
        section = self.config.backend
        return BackendSettings(section.credit_depth, section.final_depth, section.poll_s)


def home_option(function: C) -> C:
    """The option that names the client's folder."""
    return click.option(
        "--home",
        type=click.Path(path_type=Path),
        default=DEFAULT_HOME,
        show_default=True,
        help="folder of this client's keys, certificate and configuration",
    )(function)


def open_home(folder: Path) -> Home:
    """The folder with its configuration; raises CONFIG_INVALID naming what is wrong."""
    folder = folder.expanduser()
    path = folder / CONFIG_FILE
    if not path.exists():
        raise CustodydError(ErrorId.CLIENT_NOT_INITIALISED, f"{path} does not exist")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONFIG_BYTES)
        config = msgspec.convert(tomllib.loads(raw.decode()), ClientConfig)
    except (OSError, ValueError) as fault:
        raise CustodydError(ErrorId.CONFIG_INVALID, f"{path}: {fault}") from None
    _check_figures(path, config.backend)
    return Home(folder, config)


def write_config(folder: Path, config: ClientConfig) -> Home:
    """Write client.toml in place of what is there."""
    folder = folder.expanduser()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = "".join(
        f"[{section}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in fields.items())
        for section, fields in msgspec.to_builtins(config).items()
    )
    replace_private(folder / CONFIG_FILE, text.encode())
    return Home(folder, config)


def _check_figures(path: Path, section: BackendSection) -> None:
    for name in ("credit_depth", "final_depth"):
        if not 1 <= getattr(section, name) <= MAX_DEPTH:
            raise CustodydError(ErrorId.CONFIG_INVALID, f"{path}: {name} is 1 to {MAX_DEPTH}")
    if not 0 < section.poll_s <= 60:
        raise CustodydError(ErrorId.CONFIG_INVALID, f"{path}: poll_s is above 0, at most 60")


def _toml(value: object) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)
