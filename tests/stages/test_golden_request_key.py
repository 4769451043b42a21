"""The backend's sealed key file of docs/reference/formats.md opens."""

from __future__ import annotations

import json
from pathlib import Path

from custodyd.client.sealing import unseal
from tests.vectors.custodyd import make

FILES = json.loads((Path(make.__file__).parent / "sealed_files.json").read_text())["backend"]


def test_a_sealed_request_key_of_the_written_format_opens() -> None:
    for given in FILES:
        secret = unseal(given["content"].encode(), given["kind"], given["passphrase"].encode())
        assert secret.hex() == given["secret"]
