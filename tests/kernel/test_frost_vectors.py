"""BIP-445's official vectors, v0.12.1: every file, every case, errors by the BIP's own words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from signer_node.kernel.curve import tagged_hash
from signer_node.kernel.frost import signing
from signer_node.kernel.frost.aggregation import partial_sig_agg, partial_sig_verify
from signer_node.kernel.frost.commitments import (
    nonce_agg,
    parse_aggnonce,
    parse_pubnonce,
    parse_pubnonces,
)
from signer_node.kernel.frost.faults import InvalidContribution, InvalidParameters
from signer_node.kernel.frost.package import SessionContext, SessionValues, get_session_values
from signer_node.kernel.frost.points import ORDER
from signer_node.kernel.frost.signing import NonceContext, SecNonce, nonce_gen, sign
from signer_node.kernel.frost.threshold import (
    ThresholdInfo,
    validate_session_params,
    validate_threshold_info,
)
from signer_node.kernel.frost.tweaking import TweakContext, thresh_pubkey_and_tweak

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "bip445"
Case = Mapping[str, Any]


def load(name: str) -> Any:
    return json.loads((VECTORS / f"{name}_vectors.json").read_text(encoding="utf-8"))


def cases(name: str, kind: str) -> list[Any]:
    """Each test of one kind, with its group's data beneath its own."""
    document = load(name)
    return [
        pytest.param({**group, **test}, id=f"{name}-{test['tc_id']}")
        for group in document.get("test_groups", [document])
        for test in group[f"{kind}_tests"]
    ]


def octets(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def pick(test: Case, what: str) -> list[bytes]:
    """What the indices of a test choose from its group's list."""
    chosen = test[f"{what}_indices"]
    return [bytes.fromhex(test[f"{what}s"][at]) for at in chosen]


def one(test: Case, what: str) -> bytes:
    return bytes.fromhex(test[f"{what}s"][test[f"{what}_index"]])


def session(test: Case, encoded_aggnonce: bytes) -> SessionValues:
    pubshares = None if test["pubshare_indices"] is None else pick(test, "pubshare")
    thresh_pk = bytes.fromhex(test["thresh_pk"])
    signers = validate_session_params(test["n"], test["t"], test["ids"], pubshares, thresh_pk)
    aggnonce = parse_aggnonce(encoded_aggnonce)
    context = SessionContext(
        signers, aggnonce, tweaked(test, signers.thresh_pk), bytes.fromhex(test["msg"])
    )
    return get_session_values(context)


def tweaked(test: Case, thresh_pk: Any) -> TweakContext:
    tweaks = (
        pick(test, "tweak")
        if "tweak_indices" in test
        else [bytes.fromhex(tweak) for tweak in test.get("tweaks", ())]
    )
    return thresh_pubkey_and_tweak(thresh_pk, tweaks, test.get("is_xonly", ()))


def sign_case(test: Case) -> bytes:
    values = session(test, bytes.fromhex(test["aggnonce"]))
    return sign(SecNonce(one(test, "secnonce")), one(test, "secshare"), test["signer_id"], values)


def expect_error(test: Case, run: Any) -> None:
    error = test["error"]
    if error["type"] == "ValueError":
        with pytest.raises(InvalidParameters) as refused:
            run()
        assert str(refused.value) == error["message"]
        return
    assert error["type"] == "InvalidContributionError"
    with pytest.raises(InvalidContribution) as blamed:
        run()
    assert blamed.value.signer_index == error["signer_index"]
    assert blamed.value.contribution.value == error["contrib"]


# --- threshold info ---


def threshold_info(test: Case) -> ThresholdInfo:
    pubshares = tuple(
        None if at is None else bytes.fromhex(test["pubshares"][at])
        for at in test["pubshare_indices"]
    )
    return ThresholdInfo(test["t"], bytes.fromhex(test["thresh_pk"]), pubshares)


@pytest.mark.parametrize("test", cases("threshold_info", "valid"))
def test_threshold_info_that_agrees_is_taken(test: Case) -> None:
    material = validate_threshold_info(threshold_info(test))
    assert material.n == len(test["pubshare_indices"])
    assert material.thresh_pk.format() == bytes.fromhex(test["thresh_pk"])


@pytest.mark.parametrize("test", cases("threshold_info", "error"))
def test_threshold_info_that_disagrees_is_refused(test: Case) -> None:
    expect_error(test, lambda: validate_threshold_info(threshold_info(test)))


# --- nonces ---


@pytest.mark.parametrize("test", cases("nonce_gen", "valid"))
def test_nonces_are_generated_as_written(test: Case) -> None:
    context = NonceContext(
        test["signer_id"],
        octets(test["pubshare"]),
        octets(test["thresh_pk_xonly"]),
        octets(test["msg"]),
        octets(test["extra_in"]) or b"",
    )
    secnonce = nonce_gen(bytes.fromhex(test["rand"]), octets(test["secshare"]), context)
    expected_secnonce, expected_pubnonce = map(bytes.fromhex, test["expected"])
    assert secnonce.pubnonce.encoded == expected_pubnonce
    k_1, k_2 = secnonce.take()
    assert k_1.reveal() + k_2.reveal() == expected_secnonce


@pytest.mark.parametrize("test", cases("nonce_agg", "valid"))
def test_nonces_are_aggregated_infinity_included(test: Case) -> None:
    aggnonce = nonce_agg(parse_pubnonces(pick(test, "pubnonce")))
    assert aggnonce.encoded == bytes.fromhex(test["expected"])
    assert parse_aggnonce(aggnonce.encoded).encoded == aggnonce.encoded


@pytest.mark.parametrize("test", cases("nonce_agg", "error"))
def test_a_bad_public_nonce_names_its_signer(test: Case) -> None:
    expect_error(test, lambda: parse_pubnonces(pick(test, "pubnonce")))


# --- signing, tweaks, verification ---


@pytest.mark.parametrize("test", [*cases("sign_verify", "valid"), *cases("tweak", "valid")])
def test_partial_signatures_are_as_written_and_verify(test: Case) -> None:
    psig = sign_case(test)
    assert psig == bytes.fromhex(test["expected"])
    aggnonce = nonce_agg(parse_pubnonces(pick(test, "pubnonce")))
    assert aggnonce.encoded == bytes.fromhex(test["aggnonce"])
    if test["pubshare_indices"] is not None:
        values = session(test, aggnonce.encoded)
        index = test["ids"].index(test["signer_id"])
        pubnonce = parse_pubnonce(index, pick(test, "pubnonce")[index])
        partial_sig_verify(psig, pubnonce, test["signer_id"], values)


@pytest.mark.parametrize("test", [*cases("sign_verify", "sign_error"), *cases("tweak", "error")])
def test_what_must_not_be_signed_is_refused(test: Case) -> None:
    expect_error(test, lambda: sign_case(test))


def verify_case(test: Case) -> None:
    pubnonces = parse_pubnonces(pick(test, "pubnonce"))
    values = session(test, nonce_agg(pubnonces).encoded)
    index = test["signer_index"]
    psig = bytes.fromhex(test["psig"])
    partial_sig_verify(psig, pubnonces[index], test["ids"][index], values)


@pytest.mark.parametrize("test", cases("sign_verify", "verify_fail"))
def test_a_wrong_partial_signature_names_its_signer(test: Case) -> None:
    with pytest.raises(InvalidContribution) as blamed:
        verify_case(test)
    assert blamed.value.signer_index == test["signer_index"]
    assert blamed.value.contribution.value == "psig"


@pytest.mark.parametrize("test", cases("sign_verify", "verify_error"))
def test_verification_refuses_other_faults_first(test: Case) -> None:
    expect_error(test, lambda: verify_case(test))


# --- aggregation ---


def aggregate_case(test: Case) -> bytes:
    values = session(test, bytes.fromhex(test["aggnonce"]))
    return partial_sig_agg([bytes.fromhex(psig) for psig in test["psigs"]], values)


@pytest.mark.parametrize("test", cases("sig_agg", "valid"))
def test_signatures_are_aggregated_as_written(test: Case) -> None:
    assert aggregate_case(test) == bytes.fromhex(test["expected"])


@pytest.mark.parametrize("test", cases("sig_agg", "error"))
def test_what_cannot_be_aggregated_is_refused(test: Case) -> None:
    expect_error(test, lambda: aggregate_case(test))


# --- deterministic signing: not offered; its vectors still exercise sessions and equations ---


def deterministic_sign(test: Case) -> tuple[bytes, bytes]:
    """BIP-445's DeterministicSign, here only: the vectors' nonces, then our aggregation and sign.

    What a caller alone must check (is `aggothernonce` there at all?) is checked here.
    """
    values = session(test, bytes(66))
    values.session.signers.index(test["signer_id"])
    others = octets(test["aggothernonce"])
    if (others is None) != (len(test["ids"]) == 1):
        raise InvalidParameters(
            "The aggothernonce must be omitted when u = 1."
            if len(test["ids"]) == 1
            else "The aggothernonce must be present and a 66-byte array when u > 1."
        )
    secshare = one(test, "secshare")
    if not int.from_bytes(secshare, "big"):  # the nonce below would be a function of nothing
        raise InvalidParameters("The secshare is out of range.")
    secnonce = SecNonce(derive_nonce(test, secshare, values.session.tweaked))
    aggnonce = nonce_agg([secnonce.pubnonce])
    if others is not None:
        try:
            aggnonce = nonce_agg([secnonce.pubnonce, parse_pubnonce(1, others)])
        except InvalidContribution:
            raise OtherNonceInvalid from None
    pubnonce = secnonce.pubnonce.encoded
    values = session(test, aggnonce.encoded)
    return pubnonce, sign(secnonce, secshare, test["signer_id"], values)


class OtherNonceInvalid(Exception):
    """The aggregate of the others' nonces is no public nonce."""


def derive_nonce(test: Case, secshare: bytes, context: TweakContext) -> bytes:
    d = (context.sign * int.from_bytes(secshare, "big") % ORDER).to_bytes(32, "big")
    if test["aux_rand"] is not None:
        mask = tagged_hash("BIP0445/aux", bytes.fromhex(test["aux_rand"]))
        d = bytes(left ^ right for left, right in zip(d, mask, strict=True))
    others = octets(test["aggothernonce"]) or b""
    msg = bytes.fromhex(test["msg"])
    ids: Sequence[int] = sorted(test["ids"])
    hashed = b"".join(
        [
            d,
            test["signer_id"].to_bytes(4, "big"),
            len(ids).to_bytes(4, "big"),
            *(at.to_bytes(4, "big") for at in ids),
            len(others).to_bytes(1, "big"),
            others,
            context.xonly_pk,
            len(msg).to_bytes(8, "big"),
            msg,
        ]
    )
    return b"".join(
        tagged_hash("BIP0445/deterministic/nonce", hashed + half) for half in (b"\0", b"\1")
    )


@pytest.mark.parametrize("test", cases("det_sign", "valid"))
def test_sessions_of_deterministic_signers_are_as_written(test: Case) -> None:
    expected = tuple(map(bytes.fromhex, test["expected"]))
    assert deterministic_sign(test) == expected


@pytest.mark.parametrize("test", cases("det_sign", "error"))
def test_sessions_of_deterministic_signers_refuse_as_written(test: Case) -> None:
    if test["error"].get("contrib") == "aggothernonce":
        with pytest.raises(OtherNonceInvalid):
            deterministic_sign(test)
        return
    expect_error(test, lambda: deterministic_sign(test))


def test_the_kernel_offers_no_deterministic_signing() -> None:
    assert not [name for name in dir(signing) if "determin" in name.lower() or "det_" in name]


def test_no_file_and_no_kind_of_test_is_left_out() -> None:
    run = {
        "det_sign": {"valid_tests", "error_tests"},
        "nonce_agg": {"valid_tests", "error_tests"},
        "nonce_gen": {"valid_tests"},
        "sig_agg": {"valid_tests", "error_tests"},
        "sign_verify": {
            "valid_tests",
            "sign_error_tests",
            "verify_fail_tests",
            "verify_error_tests",
        },
        "threshold_info": {"valid_tests", "error_tests"},
        "tweak": {"valid_tests", "error_tests"},
    }
    found = {}
    for path in VECTORS.glob("*.json"):
        name = path.name.removesuffix("_vectors.json")
        groups = load(name).get("test_groups", [load(name)])
        found[name] = {key for group in groups for key in group if key.endswith("_tests")}
    assert found == run
