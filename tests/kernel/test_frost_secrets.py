"""Secret nonces sign once, and secrets show themselves to nobody."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer_node.kernel.frost import signing
from signer_node.kernel.frost.faults import InvalidParameters, SigningFault
from signer_node.kernel.frost.points import ORDER
from signer_node.kernel.frost.secret_scalars import SecretScalar
from signer_node.kernel.frost.signing import NonceContext, SecNonce, nonce_gen, sign
from tests.kernel.frost_samples import Session, deal, octets, point

RAND, SHARE = octets("rand"), octets("share")
CONTEXT = NonceContext(1, point(5), octets("key"), b"message", b"boot 1")
SECRETS: list[Callable[[], Any]] = [
    lambda: SecNonce(octets("k1") + octets("k2")),
    lambda: SecretScalar(octets("k1")),
]


@pytest.mark.parametrize("make", SECRETS)
@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, *(lambda one, p=p: pickle.dumps(one, p) for p in range(6))],
)
def test_secrets_are_neither_copied_nor_pickled(
    make: Callable[[], Any], duplicate: Callable[[Any], Any]
) -> None:
    with pytest.raises(TypeError, match="neither copied nor pickled"):
        duplicate(make())


@pytest.mark.parametrize("make", SECRETS)
@pytest.mark.parametrize(
    "show", [repr, str, format, lambda one: f"{[one]}", lambda one: f"{one!r}"]
)
def test_secrets_are_not_printed(make: Callable[[], Any], show: Callable[[Any], str]) -> None:
    shown = show(make())
    assert "(...)" in shown
    assert octets("k1").hex() not in shown
    assert repr(octets("k1")) not in shown


@pytest.mark.parametrize("make", SECRETS)
def test_secrets_take_no_further_attributes(make: Callable[[], Any]) -> None:
    secret = make()
    with pytest.raises(AttributeError):
        secret.note = 1
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize("make", SECRETS)
def test_secrets_are_equal_to_themselves_only(make: Callable[[], Any]) -> None:
    assert make() != make()


def test_a_nonce_signs_once() -> None:
    dealt = deal(2, 3)
    session = Session(dealt, [0, 1])
    values = session.values()
    sign(session.secnonces[0], dealt.secshares[0], 0, values)
    with pytest.raises(InvalidParameters, match="used before"):
        sign(session.secnonces[0], dealt.secshares[0], 0, values)


def test_a_nonce_is_gone_whatever_came_of_signing() -> None:
    session = Session(deal(2, 3), [0, 1])
    for share in (bytes(32), b"short", ORDER.to_bytes(32, "big")):
        nonce = SecNonce(octets("k1", share) + octets("k2", share))
        with pytest.raises(InvalidParameters, match="secshare is out of range"):
            sign(nonce, share, 0, session.values())
        with pytest.raises(InvalidParameters, match="used before"):
            nonce.take()


def test_a_nonce_signs_once_among_threads() -> None:
    nonce, taken = SecNonce(octets("k1") + octets("k2")), []

    def take() -> None:
        try:
            taken.append(nonce.take())
        except InvalidParameters:
            return

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1


def test_scalars_are_wiped_when_they_have_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[SecretScalar] = []

    def remember(secret: bytes) -> SecretScalar:
        seen.append(SecretScalar(secret))
        return seen[-1]

    monkeypatch.setattr(signing, "SecretScalar", remember)
    session = Session(deal(2, 3), [0, 1])
    assert len(session.psigs()) == 2
    assert len(seen) == 6
    assert {one.reveal() for one in seen} == {bytes(32)}


def test_a_nonce_that_is_not_used_is_destroyed() -> None:
    nonce = SecNonce(octets("k1") + octets("k2"))
    (scalars,) = nonce._unused
    nonce.destroy()
    nonce.destroy()
    assert [one.reveal() for one in scalars] == [bytes(32)] * 2
    with pytest.raises(InvalidParameters, match="used before"):
        nonce.take()


def test_a_result_that_does_not_verify_stays_here() -> None:
    """A machine that computes wrongly must not send out what may betray the share."""
    dealt = deal(2, 3)
    session = Session(dealt, [0, 1])
    faulty = session.secnonces[0]
    faulty.pubnonce = session.secnonces[1].pubnonce
    with pytest.raises(SigningFault, match="not released"):
        sign(faulty, dealt.secshares[0], 0, session.values())


@pytest.mark.parametrize(
    "other",
    [
        (octets("rand 2"), SHARE, CONTEXT),
        (RAND, octets("share 2"), CONTEXT),
        (RAND, None, CONTEXT),
        (RAND, SHARE, replace(CONTEXT, signer_id=2)),
        (RAND, SHARE, replace(CONTEXT, pubshare=point(6))),
        (RAND, SHARE, replace(CONTEXT, thresh_pk=octets("key 2"))),
        (RAND, SHARE, replace(CONTEXT, msg=b"another message")),
        (RAND, SHARE, replace(CONTEXT, extra_in=b"boot 2")),
        (RAND, SHARE, NonceContext()),
    ],
)
def test_a_repeated_random_value_alone_repeats_no_nonce(
    other: tuple[bytes, bytes | None, NonceContext],
) -> None:
    mine = nonce_gen(RAND, SHARE, CONTEXT).pubnonce
    theirs = nonce_gen(*other).pubnonce
    assert mine.R_1 != theirs.R_1
    assert mine.R_2 != theirs.R_2
    assert mine.R_1 != mine.R_2
    assert nonce_gen(RAND, SHARE, CONTEXT).pubnonce.encoded == mine.encoded


@given(st.binary(max_size=64).filter(lambda rand: len(rand) != 32))
def test_there_is_no_nonce_without_32_random_bytes(rand: bytes) -> None:
    with pytest.raises(InvalidParameters, match="rand must be"):
        nonce_gen(rand, SHARE, CONTEXT)


@pytest.mark.parametrize("secshare", [b"", bytes(31), bytes(33)])
def test_a_share_of_another_size_is_not_mixed_in(secshare: bytes) -> None:
    with pytest.raises(InvalidParameters, match="secshare must be"):
        nonce_gen(RAND, secshare, CONTEXT)


@pytest.mark.parametrize(
    "part",
    [
        {"signer_id": -1},
        {"signer_id": 128},
        {"pubshare": b""},
        {"pubshare": bytes(32)},
        {"thresh_pk": b""},
        {"thresh_pk": bytes(33)},
    ],
)
def test_parts_of_another_size_are_refused(part: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameters, match="The optional"):
        NonceContext(**part)


@pytest.mark.parametrize("encoded", [b"", bytes(63), octets("a") * 3])
def test_a_nonce_has_two_halves(encoded: bytes) -> None:
    with pytest.raises(InvalidParameters, match="64-byte"):
        SecNonce(encoded)


@pytest.mark.parametrize(
    "secret", [b"", bytes(32), b"\x01" * 31, ORDER.to_bytes(32, "big"), b"\xff" * 32]
)
def test_what_is_no_secret_scalar_is_refused(secret: bytes) -> None:
    """coincurve would pad a short one silently."""
    with pytest.raises(ValueError, match="secret scalar"):
        SecretScalar(secret)


def test_a_secret_sum_or_product_of_zero_is_refused() -> None:
    one, minus_one = SecretScalar((1).to_bytes(32, "big")), SecretScalar((1).to_bytes(32, "big"))
    minus_one.negate()
    assert minus_one.reveal() == (ORDER - 1).to_bytes(32, "big")
    with pytest.raises(ValueError, match="zero"):
        one.multiply(0)
    fresh = SecretScalar((1).to_bytes(32, "big"))
    with pytest.raises(ValueError, match="zero"):
        fresh.add(minus_one)
