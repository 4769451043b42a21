"""What all tests share: a skip is loud, and the kernel's tests find no entropy, clock or socket.

This file also runs in the signer's own environment, so it imports neither custodyd nor signer_node.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

TESTS = Path(__file__).resolve().parent
# Whoever asks from one of these, in a test of the kernel, has left the kernel's promise.
WATCHED = ("signer_node.", "coincurve.", "tests.kernel.")
CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "sleep")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test fails the run")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("importmode") != "importlib":
        raise pytest.UsageError(
            "run the tests by `make test` or with --import-mode=importlib: other modes put the "
            "repository's folders on the path, and a signer test could then import custodyd"
        )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups that share one quorum of processes begin first, or they end last and alone."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    terminalreporter.section(f"NOT TESTED: {len(skipped)} skipped", sep="!", red=True, bold=True)
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.line(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or exitstatus != pytest.ExitCode.OK:
        return
    if session.config.getoption("no_skips") and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    if not item.path.is_relative_to(TESTS / "kernel"):
        return (yield)
    with _nothing_but_values():
        return (yield)


@contextlib.contextmanager
def _nothing_but_values() -> Iterator[None]:
    """Entropy, clocks and sockets raise for the kernel, its libraries and its tests.

    Import rules cannot see that coincurve draws entropy by itself when it is given none. The test
    tools ask for time and randomness too, so it depends on who asks.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(os, "urandom", _watched("urandom", os.urandom)))
        for name in ("coincurve.context", "coincurve.utils"):
            module = sys.modules.get(name)
            if module is not None and hasattr(module, "urandom"):
                stack.enter_context(mock.patch.object(module, "urandom", os.urandom))
        for name in CLOCKS:
            stack.enter_context(mock.patch.object(time, name, _watched(name, getattr(time, name))))
        refused = _watched("socket", socket.socket.__init__)
        stack.enter_context(mock.patch.object(socket.socket, "__init__", refused))
        yield


def _watched(what: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def ask(*args: object, **kwargs: object) -> Any:
        caller = str(sys._getframe(1).f_globals.get("__name__"))
        if caller.startswith(WATCHED):
            raise AssertionError(f"{caller} asked for {what}: the kernel decides on values alone")
        return real(*args, **kwargs)

    return ask
