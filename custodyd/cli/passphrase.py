"""Secrets of a command: by file descriptor, private file or prompt; never as arguments."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from custodyd.client.sealing import read_private
from custodyd.errors import CustodydError, ErrorId

MAX_SECRET_BYTES: Final = 4_096
LEAST_PASSPHRASE_BYTES: Final = 8

C = TypeVar("C", bound=Callable[..., Any])


def passphrase_options(function: C) -> C:
    """Two ways to give a passphrase without a terminal."""
    by_fd = click.option(
        "--passphrase-fd", type=int, metavar="N", help="read the passphrase from descriptor N"
    )
    by_file = click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path),
        help="read it from a file of mode 0600 (e.g. in systemd's credentials directory)",
    )
    return by_fd(by_file(function))


def read_passphrase(fd: int | None, file: Path | None, *, new: bool = False) -> bytes:
    """The passphrase; asks on the terminal (twice for a new one) when neither way was chosen."""
    if fd is not None:
        passphrase = read_descriptor(fd)
    elif file is not None:
        passphrase = read_private(file).strip(b"\r\n")
    elif sys.stdin.isatty():
        text = click.prompt("passphrase", hide_input=True, confirmation_prompt=new, err=True)
        passphrase = str(text).encode()
    else:
        raise CustodydError(
            ErrorId.ARGUMENT_INVALID, "no passphrase: --passphrase-fd, --passphrase-file or a tty"
        )
    if new and len(passphrase) < LEAST_PASSPHRASE_BYTES:
        raise CustodydError(
            ErrorId.ARGUMENT_INVALID, f"a passphrase has at least {LEAST_PASSPHRASE_BYTES} bytes"
        )
    return passphrase


def read_descriptor(fd: int) -> bytes:
    """One secret from an open descriptor, to its end, without the line's end."""
    try:
        with os.fdopen(fd, "rb") as file:
            return file.read(MAX_SECRET_BYTES).strip(b"\r\n")
    except OSError as fault:
        raise CustodydError(
            ErrorId.ARGUMENT_INVALID, f"descriptor {fd}: {fault.strerror}"
        ) from None


def read_text_file(path: Path) -> str:
    """A token or words from a file, or from standard input for `-`."""
    try:
        if str(path) == "-":
            return sys.stdin.read(MAX_SECRET_BYTES).strip()
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_SECRET_BYTES).strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise CustodydError(ErrorId.ARGUMENT_INVALID, f"{path}: {fault}") from None
