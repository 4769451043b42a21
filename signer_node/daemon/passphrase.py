"""Where a passphrase comes from: a file descriptor, a credentials folder or a prompt.

Never an argument and never the environment: others can read both.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from signer_node.adapters.folder import read_file
from signer_node.adapters.keystore import MAX_PASSPHRASE, MIN_PASSPHRASE
from signer_node.daemon.config import Configuration
from signer_node.kernel.errors import ErrorId, Refusal

FILE_NAME: Final = "passphrase"
NEW_FILE_NAME: Final = "new-passphrase"


@dataclass(frozen=True, slots=True)
class Source:
    """How to ask for one passphrase; `name` is the file's in a credentials folder."""

    descriptor: int | None
    credentials_dir: str
    name: str
    prompt: str
    is_new: bool = False


def passphrase_source(
    args: argparse.Namespace, configuration: Configuration, *, is_new: bool = False
) -> Source:
    """Where this command takes its passphrase from."""
    return Source(
        args.passphrase_fd,
        configuration.settings.credentials_dir,
        FILE_NAME,
        "new passphrase" if is_new else "passphrase",
        is_new,
    )


def read_passphrase(source: Source) -> bytes:
    """Return a passphrase; raises Refusal without ever naming what was read."""
    if source.descriptor is not None:
        passphrase = _from_descriptor(source.descriptor)
    elif source.credentials_dir:
        passphrase = _stripped(
            read_file(Path(source.credentials_dir) / source.name, MAX_PASSPHRASE + 1)
        )
    elif sys.stdin.isatty():
        passphrase = _from_prompt(source)
    else:
        raise Refusal(ErrorId.PASSPHRASE_UNUSABLE, "there is no terminal to ask at")
    if not MIN_PASSPHRASE <= len(passphrase) <= MAX_PASSPHRASE:
        detail = f"a passphrase has {MIN_PASSPHRASE} to {MAX_PASSPHRASE} bytes"
        raise Refusal(ErrorId.PASSPHRASE_UNUSABLE, detail)
    return passphrase


def _from_descriptor(descriptor: int) -> bytes:
    try:
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_PASSPHRASE + 2)
        os.close(descriptor)
    except OSError as fault:
        detail = f"file descriptor {descriptor}: {fault.strerror}"
        raise Refusal(ErrorId.FILE_UNREADABLE, detail) from None
    return _stripped(content)


def _stripped(content: bytes) -> bytes:
    """The first line, without its end."""
    return content.split(b"\n", 1)[0].rstrip(b"\r")


def _from_prompt(source: Source) -> bytes:
    first = getpass.getpass(f"{source.prompt}: ")
    if source.is_new and getpass.getpass("once more: ") != first:
        raise Refusal(ErrorId.PASSPHRASE_UNUSABLE, "the two are not the same")
    return first.encode()
