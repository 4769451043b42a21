"""One JSON-RPC call to the local chain node: `python -m deploy.local.rpc METHOD [PARAM...]`.

A parameter that is a whole number goes as a number, anything else as text.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.local.processes import Ports, RpcRefused, call_rpc
from deploy.local.steps import complain


def main(argv: Sequence[str] | None = None) -> int:
    """Make the call, print the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.rpc", description=__doc__)
    parser.add_argument("--port", type=int, default=Ports().chain)
    parser.add_argument(
        "--credentials", type=Path, default=Path("build/quorum/devnet/rpc-password")
    )
    parser.add_argument("method")
    parser.add_argument("params", nargs="*")
    given = parser.parse_args(argv)
    try:
        result = call_rpc(given.port, given.credentials, given.method, *map(_value, given.params))
    except (RpcRefused, OSError) as fault:
        complain(f"{given.method}: {fault}")
        return 1
    print(json.dumps(result, indent=1, default=str))
    return 0


def _value(text: str) -> Any:
    return int(text) if text.lstrip("-").isdigit() else text


if __name__ == "__main__":
    sys.exit(main())
