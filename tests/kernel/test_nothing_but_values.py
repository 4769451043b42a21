"""The guard of tests/conftest.py works: in a kernel test, nothing hands out what is not a value."""

from __future__ import annotations

import os
import socket
import time

import coincurve
import pytest


def test_a_key_drawn_by_the_library_itself_is_refused() -> None:
    with pytest.raises(AssertionError, match="urandom"):
        coincurve.PrivateKey()


def test_a_signature_with_entropy_of_the_librarys_own_is_refused() -> None:
    key = coincurve.PrivateKey(b"\x01" * 32)
    with pytest.raises(AssertionError, match="urandom"):
        key.sign_schnorr(b"\x02" * 32)
    key.sign_schnorr(b"\x02" * 32, b"\x00" * 32)


def test_clock_entropy_and_socket_are_refused() -> None:
    for ask in (time.time, time.monotonic, socket.socket, lambda: os.urandom(1)):
        with pytest.raises(AssertionError, match="values alone"):
            ask()
