"""Configuration: default < TOML file < flag. No environment variable is read.

An unknown key fails, a value out of range fails, and the message names the key. Secrets come by
file (`*_file`), are checked for their mode, and are never shown.
"""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec

from custodyd.daemon.files import DataFolder, read_private, read_public
from custodyd.errors import CustodydError, ErrorId
from custodyd.store.context import DepositTier, StageSettings
from signer_node.kernel.bitcoin.network import Network, network_from_name

MASK: Final = "***"
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Rate = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Depth = Annotated[int, msgspec.Meta(ge=1, le=1_000)]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of the file; its keys and no others."""


class StoreConfig(_Section, frozen=True):
    """Where the database is; neither: SQLite in the data folder."""

    url: str = ""
    # A file with the URL, for one that holds a password.
    url_file: str = ""


class ChainConfig(_Section, frozen=True):
    """The Bitcoin node's RPC."""

    host: str = "127.0.0.1"
    port: Port = 8_332
    # `user:password`, Bitcoin Core's .cookie or a file like it.
    credentials_file: str = ""
    timeout_s: Positive = 30


class ApiConfig(_Section, frozen=True):
    """The gRPC ports."""

    address: str = "127.0.0.1:18550"
    enrolment_address: str = "127.0.0.1:18551"
    # What enrolled nodes are told to call; empty: `address`.
    advertised_address: str = ""
    # More names for the server's certificate.
    names: tuple[str, ...] = ()
    reflection: bool = False


class TelemetryConfig(_Section, frozen=True):
    """Metrics and probes, on loopback."""

    address: str = "127.0.0.1:18552"
    log_level: str = "info"


class BatchesConfig(_Section, frozen=True):
    """When a batch is formed, and how long its manifest lives."""

    max_withdrawals: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 200
    enough_withdrawals: Positive = 100
    max_age_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 60
    manifest_lifetime_s: Positive = 7_200


class FeesConfig(_Section, frozen=True):
    """Fee rate: the node's estimate between floor and cap; the fallback when it has none."""

    target_blocks: Annotated[int, msgspec.Meta(ge=1, le=1_008)] = 6
    floor_sat_vb: Rate = 1
    cap_sat_vb: Rate = 200
    fallback_sat_vb: Rate = 2


class TierConfig(_Section, frozen=True):
    """Deposits of at least `from_sat` are creditable at `depth`."""

    from_sat: Annotated[int, msgspec.Meta(ge=0, le=21 * 10**14)]
    depth: Depth


class DepthsConfig(_Section, frozen=True):
    """Confirmations."""

    final: Depth = 6
    deposit_tiers: Annotated[tuple[TierConfig, ...], msgspec.Meta(min_length=1, max_length=20)] = (
        TierConfig(from_sat=0, depth=2),
        TierConfig(from_sat=100_000_000, depth=3),
        TierConfig(from_sat=1_000_000_000, depth=6),
    )


class SigningConfig(_Section, frozen=True):
    """Rounds and signer nodes."""

    round_timeout_s: Positive = 30
    keygen_timeout_s: Positive = 60
    signer_offline_after_s: Positive = 30
    envelope_lifetime_s: Positive = 86_400


class Config(_Section, frozen=True):
    """The whole file."""

    network: str
    store: StoreConfig = StoreConfig()
    chain: ChainConfig = ChainConfig()
    api: ApiConfig = ApiConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    batches: BatchesConfig = BatchesConfig()
    fees: FeesConfig = FeesConfig()
    depths: DepthsConfig = DepthsConfig()
    signing: SigningConfig = SigningConfig()
    # Upper bound of the pause between two passes of the stages, in milliseconds.
    interval_ms: Annotated[int, msgspec.Meta(ge=10, le=60_000)] = 500


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked configuration; `origins` says of each key that was set where."""

    folder: DataFolder
    config: Config
    origins: Mapping[str, str]

    @property
    def network(self) -> Network:
        """The Bitcoin network."""
        return network_from_name(self.config.network)

    def store_url(self) -> str:
        """SQLAlchemy URL of the database."""
        store = self.config.store
        if store.url_file:
            return read_private(self.resolve(store.url_file)).decode().strip()
        return store.url or f"sqlite:///{self.folder.database}"

    def resolve(self, path: str) -> Path:
        """A path of the file, relative to the data folder."""
        return self.folder.path / path

    def settings(self) -> StageSettings:
        """The stages' figures."""
        config = self.config
        return StageSettings(
            batch_max_withdrawals=config.batches.max_withdrawals,
            batch_enough_withdrawals=config.batches.enough_withdrawals,
            batch_max_age_s=config.batches.max_age_s,
            manifest_lifetime_s=config.batches.manifest_lifetime_s,
            fee_target_blocks=config.fees.target_blocks,
            fee_floor_sat_vb=config.fees.floor_sat_vb,
            fee_cap_sat_vb=config.fees.cap_sat_vb,
            fee_fallback_sat_vb=config.fees.fallback_sat_vb,
            deposit_tiers=tuple(
                DepositTier(tier.from_sat, tier.depth) for tier in config.depths.deposit_tiers
            ),
            final_depth=config.depths.final,
            round_timeout_s=config.signing.round_timeout_s,
            keygen_timeout_s=config.signing.keygen_timeout_s,
            signer_offline_after_s=config.signing.signer_offline_after_s,
            envelope_lifetime_s=config.signing.envelope_lifetime_s,
        )


def load_config(data_dir: Path, overrides: Mapping[str, str] | None = None) -> Loaded:
    """Read and check `custodyd.toml` with flags over it (`"chain.port": "18543"`).

    Raises NOT_INITIALISED, FILE_UNREADABLE, CONFIG_INVALID.
    """
    folder = DataFolder(data_dir)
    if not folder.config.is_file():
        raise CustodydError(ErrorId.NOT_INITIALISED, str(data_dir))
    try:
        written = tomllib.loads(read_public(folder.config).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as bad:
        raise CustodydError(ErrorId.CONFIG_INVALID, f"{folder.config}: {bad}") from None
    origins = {key: str(folder.config) for key, _ in _flat(written)}
    for key, value in (overrides or {}).items():
        _put(written, key, value)
        origins[key] = "flag"
    try:
        # Flags are texts, so numbers may come as texts.
        config = msgspec.convert(written, Config, strict=False)
    except msgspec.ValidationError as bad:
        raise CustodydError(ErrorId.CONFIG_INVALID, f"{folder.config}: {bad}") from None
    loaded = Loaded(folder, config, origins)
    _check(loaded)
    return loaded


def check_config(data_dir: Path, overrides: Mapping[str, str] | None = None) -> Loaded:
    """As `load_config`, and every file that it names must be readable and not too open."""
    loaded = load_config(data_dir, overrides)
    loaded.folder.require_initialised()
    loaded.folder.authority()
    loaded.folder.envelope_secret()
    loaded.store_url()
    if loaded.config.chain.credentials_file:
        read_private(loaded.resolve(loaded.config.chain.credentials_file))
    return loaded


def show_config(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Each key with its value, masked where it may hold a secret, and its origin."""
    shown = []
    for key, value in _flat(msgspec.to_builtins(loaded.config)):
        text = _masked(str(value)) if key == "store.url" else str(value)
        shown.append((key, text, loaded.origins.get(key, "default")))
    return shown


def split_address(address: str, key: str) -> tuple[str, int]:
    """Host and port of `host:port`; raises CONFIG_INVALID."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) <= 65_535:
        raise CustodydError(ErrorId.CONFIG_INVALID, f"{key} is not host:port")
    return host.strip("[]"), int(port)


def _check(loaded: Loaded) -> None:
    config = loaded.config
    try:
        network_from_name(config.network)
    except ValueError as bad:
        raise CustodydError(ErrorId.CONFIG_INVALID, f"network: {bad}") from None
    split_address(config.api.address, "api.address")
    split_address(config.api.enrolment_address, "api.enrolment_address")
    host, _ = split_address(config.telemetry.address, "telemetry.address")
    if not _is_loopback(host):
        raise CustodydError(ErrorId.CONFIG_INVALID, "telemetry.address is not on loopback")
    if config.store.url and config.store.url_file:
        raise CustodydError(ErrorId.CONFIG_INVALID, "store.url and store.url_file are both set")
    if config.fees.floor_sat_vb > config.fees.cap_sat_vb:
        raise CustodydError(ErrorId.CONFIG_INVALID, "fees.floor_sat_vb exceeds fees.cap_sat_vb")
    starts = [tier.from_sat for tier in config.depths.deposit_tiers]
    if starts != sorted(set(starts)) or starts[0] != 0:
        raise CustodydError(
            ErrorId.CONFIG_INVALID, "depths.deposit_tiers must begin at 0 and ascend"
        )
    if config.telemetry.log_level not in ("debug", "info", "warning", "error"):
        raise CustodydError(
            ErrorId.CONFIG_INVALID, "telemetry.log_level: debug, info, warning, error"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _flat(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _put(config: dict[str, Any], key: str, value: str) -> None:
    *sections, name = key.split(".")
    place = config
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise CustodydError(ErrorId.CONFIG_INVALID, f"{key} is no section")
    place[name] = value


def _masked(url: str) -> str:
    password = urlsplit(url).password
    return url.replace(f":{password}@", f":{MASK}@") if password else url
