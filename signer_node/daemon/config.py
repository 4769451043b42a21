"""The node's configuration: default < TOML file < flag. No environment, no secret in it.

Unknown keys, wrong types and a file that others could write are errors.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from signer_node.adapters.folder import read_file
from signer_node.daemon.log import LEVELS
from signer_node.kernel.errors import ErrorId, Refusal

DEFAULT_DATA_DIR: Final = "signer-node"
_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}")
_OTHERS_MAY_WRITE: Final = 0o022


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every setting with its default. `coordinator` empty: what the enrolment answered."""

    data_dir: str = DEFAULT_DATA_DIR
    coordinator: str = ""
    credentials_dir: str = ""
    heartbeat_s: float = 5.0
    poll_wait_ms: int = 20_000
    log_level: str = "info"
    metrics_file: str = ""
    notice_file: str = ""
    notice_command: list[str] = []


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings in force, and where each came from: default, file or flag."""

    settings: Settings
    origins: Mapping[str, str]

    @property
    def data_dir(self) -> Path:
        """The data folder, absolute."""
        return Path(self.settings.data_dir).absolute()


def load(file: str | None, flags: Mapping[str, Any]) -> Configuration:
    """Read a configuration; `flags` are those given. Raises Refusal(CONFIG_INVALID)."""
    in_file = _read(Path(file)) if file is not None else {}
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        msgspec.convert(in_file, Settings)
        settings = msgspec.convert({**in_file, **given}, Settings)
    except msgspec.ValidationError as fault:
        raise Refusal(ErrorId.CONFIG_INVALID, f"{file or 'flags'}: {fault}") from None
    _check(settings)
    origins = {
        name: "flag" if name in given else f"file {file}" if name in in_file else "default"
        for name in Settings.__struct_fields__
    }
    return Configuration(settings, origins)


def _read(path: Path) -> dict[str, Any]:
    content = read_file(path)
    if path.stat().st_mode & _OTHERS_MAY_WRITE:
        detail = f"{path}: others may write it, and it names commands to run (chmod go-w)"
        raise Refusal(ErrorId.FILE_UNREADABLE, detail)
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise Refusal(ErrorId.CONFIG_INVALID, f"{path}: {fault}") from None


def _check(settings: Settings) -> None:
    if settings.coordinator and not _ADDRESS.fullmatch(settings.coordinator):
        raise Refusal(ErrorId.CONFIG_INVALID, "coordinator: must be host:port")
    if settings.log_level not in LEVELS:
        raise Refusal(ErrorId.CONFIG_INVALID, f"log_level: one of {', '.join(LEVELS)}")
    if not 0.1 <= settings.heartbeat_s <= 60:
        raise Refusal(ErrorId.CONFIG_INVALID, "heartbeat_s: between 0.1 and 60")
    if not 0 <= settings.poll_wait_ms <= 60_000:
        raise Refusal(ErrorId.CONFIG_INVALID, "poll_wait_ms: between 0 and 60000")
