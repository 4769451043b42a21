"""What the house rules look at: the files that git knows or would know, parsed once."""

from __future__ import annotations

import ast
import functools
import io
import subprocess
import tokenize
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GIT_TIMEOUT_S = 30
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Source:
    """A hand-written Python file: path relative to the root, text, syntax tree."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """Where the file stands, as `signer_node/kernel/vault`."""
        return self.path.parent.as_posix()

    def is_in(self, *folders: str) -> bool:
        return any(self.path.is_relative_to(folder) for folder in folders)

    def functions(self) -> list[FunctionNode]:
        return [n for n in ast.walk(self.tree) if isinstance(n, FunctionNode)]


def source(path: str, text: str) -> Source:
    """Raises SystemExit with the place when the text is not Python of the oldest version we run."""
    try:
        return Source(Path(path), text, ast.parse(text, filename=path))
    except SyntaxError as error:
        raise SystemExit(f"{path}:{error.lineno}: {error.msg}") from None


@functools.cache
def tracked_files() -> tuple[Path, ...]:
    """Relative paths of all files that are committed or would be by `git add`."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=GIT_TIMEOUT_S,
    )
    paths = {Path(name) for name in listing.stdout.split("\0") if name}
    return tuple(sorted(path for path in paths if (ROOT / path).is_file()))


@functools.cache
def python_sources() -> tuple[Source, ...]:
    """All Python files that people write, generated code left out."""
    return tuple(
        source(path.as_posix(), (ROOT / path).read_text(encoding="utf-8"))
        for path in tracked_files()
        if path.suffix == ".py" and not path.stem.endswith(("_pb2", "_pb2_grpc"))
    )


def code_lines(one: Source) -> int:
    """Lines that hold code: blank lines, comments and docstrings are not counted."""
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    silent |= {tokenize.ENCODING, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(one.text).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - _docstring_lines(one.tree))


def _docstring_lines(tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | FunctionNode):
            continue
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            text = isinstance(first.value.value, str)
            lines.update(range(first.lineno, (first.end_lineno or 0) + 1) if text else ())
    return lines


def length(function: FunctionNode) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1
