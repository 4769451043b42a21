"""Generates the Python code of every .proto file in this folder, at the same path under the root.

`proto/signer_node/wire/v1/x.proto` becomes `signer_node/wire/v1/x_pb2.py` with its types beside it,
and stubs where a file has a service. The result is committed, so that an installation needs no
compiler; `--check` fails when what is committed is not what the .proto files say.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
ROOT = SOURCES.parent
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")
COMPILE_TIMEOUT_S = 120


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail on a difference")
    check: bool = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        fresh = _compile_all(Path(folder))
    changed = sorted(path for path in fresh | _committed() if fresh.get(path) != _bytes_of(path))
    for path in changed:
        print(f"{'differs' if check else 'wrote'}: {path}")
        if not check:
            _write(path, fresh.get(path))
    if check and changed:
        print("generated code is not what proto/ says: run `make proto` and commit the result")
        return 1
    return 0


def _compile_all(target: Path) -> dict[Path, bytes]:
    """Runs protoc into an empty folder; returns relative path -> content."""
    protos = sorted(SOURCES.rglob("*.proto"))
    with_service = [p for p in protos if "\nservice " in p.read_text(encoding="utf-8")]
    _protoc(target, protos, ("python_out", "mypy_out"))
    if with_service:
        _protoc(target, with_service, ("grpc_python_out", "mypy_grpc_out"))
    return {p.relative_to(target): p.read_bytes() for p in target.rglob("*_pb2*")}


def _protoc(target: Path, protos: list[Path], outputs: tuple[str, ...]) -> None:
    # The mypy plug-ins are programs of this environment; protoc looks for them on PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{SOURCES}"]
    for output in outputs:
        prefix = "quiet:" if output.startswith("mypy") else ""
        command.append(f"--{output}={prefix}{target}")
    command += [str(p.relative_to(SOURCES)) for p in protos]
    subprocess.run(command, check=True, cwd=SOURCES, env={"PATH": path}, timeout=COMPILE_TIMEOUT_S)


def _committed() -> dict[Path, bytes]:
    rooms = sorted({p.relative_to(SOURCES).parent for p in SOURCES.rglob("*.proto")})
    found = (path for room in rooms for glob in GENERATED for path in (ROOT / room).glob(glob))
    return {path.relative_to(ROOT): path.read_bytes() for path in found}


def _bytes_of(path: Path) -> bytes | None:
    full = ROOT / path
    return full.read_bytes() if full.exists() else None


def _write(path: Path, content: bytes | None) -> None:
    full = ROOT / path
    if content is None:
        full.unlink()
        return
    full.parent.mkdir(parents=True, exist_ok=True)
    full.write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
