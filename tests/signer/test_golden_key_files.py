"""The sealed key files of docs/reference/formats.md open, wherever they were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from signer_node.adapters.keystore import parse_sealed, unseal
from signer_node.kernel.errors import ErrorId, Refusal
from tests.vectors.custodyd import make

FILES = json.loads((Path(make.__file__).parent / "sealed_files.json").read_text())["signer_node"]


@pytest.mark.parametrize("given", FILES, ids=lambda one: one["purpose"])
def test_a_key_file_of_the_written_format_opens(given: dict[str, Any]) -> None:
    file = parse_sealed(bytes.fromhex(given["content"]), "golden")
    assert (file.purpose, file.public.hex()) == (given["purpose"], given["public"])
    assert unseal(file, given["passphrase"].encode()).value.hex() == given["secret"]


def test_damage_and_a_wrong_passphrase_are_told_apart() -> None:
    content = bytes.fromhex(FILES[0]["content"])
    with pytest.raises(Refusal) as damaged:
        parse_sealed(content[:-1] + bytes((content[-1] ^ 1,)), "golden")
    assert damaged.value.error is ErrorId.KEY_FILE_INVALID
    with pytest.raises(Refusal) as wrong:
        unseal(parse_sealed(content, "golden"), b"another passphrase")
    assert wrong.value.error is ErrorId.PASSPHRASE_WRONG
