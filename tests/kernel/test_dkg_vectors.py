"""ChillDKG 0.3.0: every official vector, valid and invalid, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from signer_node.kernel.dkg import chilldkg, faults
from signer_node.kernel.dkg.simplpedpop import DKGOutput

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "chilldkg"
Case = dict[str, Any]

TYPES: dict[str, type[ValueError]] = {
    # The draft leaves structural errors to the language; ours may name a culprit besides.
    "ValueError": ValueError,
    "HostSeckeyError": faults.BadHostSeckey,
    "RandomnessError": faults.BadRandomness,
    "ThresholdOrCountError": faults.BadThresholdOrCount,
    "InvalidHostPubkeyError": faults.InvalidHostPubkey,
    "DuplicateHostPubkeyError": faults.DuplicateHostPubkey,
    "RecoveryDataError": faults.BadRecoveryData,
    "FaultyParticipantError": faults.FaultyParticipant,
    "FaultyCoordinatorError": faults.FaultyCoordinator,
    "FaultyParticipantOrCoordinatorError": faults.FaultyParticipantOrCoordinator,
    "UnknownFaultyParticipantOrCoordinatorError": faults.UnknownFaultyParticipantOrCoordinator,
}
OUR_WORDS = {
    "Participant has provided an invalid signature for the certificate": "signature for the cert",
    "Coordinator has provided a certificate with an invalid signature": "certificate is invalid",
    "Participant sent invalid partial secshare": "partial secret share is wrong",
    "Sum of encrypted partial secshares not equal to encrypted secshare": "encrypted partial share",
    "Coordinator fiddled with the share from me to myself": "from this participant to itself",
    "Sum of partial pubshares not equal to pubshare": "partial public shares do not sum up",
    "Host secret key does not match any host public key": "of no participant",
    "Host secret key does not match any host public key in the recovery data": "of no participant",
    "Host secret key does not match the one used in participant_step1": "of the first step",
    "Coordinator replied with wrong pubnonce": "another public nonce",
    "invalid public nonce": "public nonce is no point",
    "Received invalid secshare; consider using participant_investigate() to determine a faulty"
    " party": "secret share is wrong",
    "Coordinator sent unexpected first group element for local participant id": "another commit",
    "Participant sent invalid commitment": "commitment is invalid",
    "Participant sent invalid proof-of-knowledge": "proof of possession is invalid",
    "Failed to deserialize recovery data": "recovery data (of no possible|with an invalid field)",
    "Invalid session parameters in recovery data": "invalid parameters",
    "Invalid certificate in recovery data": "invalid certificate",
}


def _load(name: str) -> Case:
    loaded: Case = json.loads((VECTORS / f"{name}_vectors.json").read_text())
    return loaded


def _groups(name: str) -> list[Case]:
    document = _load(name)
    return list(document.get("testGroups", [document]))


def _cases(name: str, kind: str) -> Iterator[Any]:
    for group in _groups(name):
        for case in group.get(f"{kind}TestCases", []):
            yield pytest.param(group, case, id=f"{case['tcId']}: {case['comment']}")


def valid(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("group", "case"), list(_cases(name, "valid")))


def invalid(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("group", "case"), list(_cases(name, "error")))


def _params(source: Case) -> chilldkg.SessionParams:
    keys = tuple(map(bytes.fromhex, source["params"]["hostpubkeys"]))
    return chilldkg.SessionParams(keys, source["params"]["t"])


def _hexes(values: list[str], indices: list[int]) -> list[bytes]:
    return [bytes.fromhex(values[index]) for index in indices]


def _refused(expected: Case, call: Callable[[], object]) -> None:
    kind = TYPES[expected["type"]]
    with pytest.raises(
        ValueError, match=OUR_WORDS[expected["message"]] if "message" in expected else None
    ) as caught:
        call()
    assert isinstance(caught.value, kind)
    if kind is not ValueError:
        assert type(caught.value) is kind
    for theirs, ours in (
        ("participantId", "participant_id"),
        ("participantId1", "participant_id1"),
        ("participantId2", "participant_id2"),
    ):
        if theirs in expected:
            assert getattr(caught.value, ours) == expected[theirs]


def _same_output(output: DKGOutput, expected: Case) -> None:
    secshare = expected["secshare"]
    assert output.secshare == (None if secshare is None else bytes.fromhex(secshare))
    assert output.thresh_pk.hex().upper() == expected["threshPk"]
    assert [share.hex().upper() for share in output.pubshares] == expected["pubshares"]


def test_every_case_of_every_file_is_used() -> None:
    names = sorted(path.name.removesuffix("_vectors.json") for path in VECTORS.glob("*.json"))
    assert names == [
        "coordinator_finalize", "coordinator_investigate", "coordinator_step1", "hostpubkey_gen",
        "params_hash", "participant_finalize", "participant_investigate", "participant_step1",
        "participant_step2", "recover",
    ]  # fmt: skip
    for name in names:
        counted = len([*_cases(name, "valid"), *_cases(name, "error")])
        assert counted == _load(name)["totalTests"]


@valid("hostpubkey_gen")
def test_hostpubkey_gen(group: Case, case: Case) -> None:
    key = chilldkg.hostpubkey_gen(bytes.fromhex(case["hostseckey"]))
    assert key.hex().upper() == case["expectedHostpubkey"]


@invalid("hostpubkey_gen")
def test_hostpubkey_gen_refuses(group: Case, case: Case) -> None:
    secret = bytes.fromhex(case["hostseckey"])
    _refused(case["expectedError"], lambda: chilldkg.hostpubkey_gen(secret))


@valid("params_hash")
def test_params_hash(group: Case, case: Case) -> None:
    assert chilldkg.params_hash(_params(case)).hex().upper() == case["expectedParamsHash"]


@invalid("params_hash")
def test_params_hash_refuses(group: Case, case: Case) -> None:
    _refused(case["expectedError"], lambda: chilldkg.params_hash(_params(case)))


def _step1(case: Case, source: Case) -> tuple[chilldkg.ParticipantState1, bytes]:
    secret, random = bytes.fromhex(source["hostseckey"]), bytes.fromhex(source["random"])
    return chilldkg.participant_step1(secret, _params(case), random)


@valid("participant_step1")
def test_participant_step1(group: Case, case: Case) -> None:
    _, pmsg1 = _step1(case, case)
    assert pmsg1.hex().upper() == case["expectedPmsg1"]


@invalid("participant_step1")
def test_participant_step1_refuses(group: Case, case: Case) -> None:
    _refused(case["expectedError"], lambda: _step1(case, case))


def _step2(group: Case, case: Case, cmsg1: str) -> tuple[chilldkg.ParticipantState2, bytes]:
    state1, pmsg1 = _step1(group, group)
    assert pmsg1.hex().upper() == group["pmsg1"]
    merged = {**group, **case}
    secret, aux_rand = bytes.fromhex(merged["hostseckey"]), bytes.fromhex(merged["auxRand"])
    return chilldkg.participant_step2(secret, state1, bytes.fromhex(cmsg1), aux_rand)


@valid("participant_step2")
def test_participant_step2(group: Case, case: Case) -> None:
    _, pmsg2 = _step2(group, case, case["cmsg1"])
    assert pmsg2.hex().upper() == case["expectedPmsg2"]


@invalid("participant_step2")
def test_participant_step2_refuses(group: Case, case: Case) -> None:
    _refused(case["expectedError"], lambda: _step2(group, case, case["cmsg1"]))


def _after_step2(group: Case) -> chilldkg.ParticipantState2:
    state2, pmsg2 = _step2(group, group, group["cmsg1"])
    assert pmsg2.hex().upper() == group["pmsg2"]
    return state2


@valid("participant_finalize")
def test_participant_finalize(group: Case, case: Case) -> None:
    output, recovery_data = chilldkg.participant_finalize(
        _after_step2(group), bytes.fromhex(case["cmsg2"])
    )
    _same_output(output, case["expectedOutput"]["dkgOutput"])
    assert recovery_data.hex().upper() == case["expectedOutput"]["recoveryData"]


@invalid("participant_finalize")
def test_participant_finalize_refuses(group: Case, case: Case) -> None:
    state2, cmsg2 = _after_step2(group), bytes.fromhex(case["cmsg2"])
    _refused(case["expectedError"], lambda: chilldkg.participant_finalize(state2, cmsg2))


@invalid("participant_investigate")
def test_participant_investigate(group: Case, case: Case) -> None:
    with pytest.raises(faults.UnknownFaultyParticipantOrCoordinator) as caught:
        _step2(group, group, group["cmsg1Pool"][case["cmsg1Index"]])
    cinv = bytes.fromhex(case["cinvMsg"])
    _refused(case["expectedError"], lambda: chilldkg.participant_investigate(caught.value, cinv))


def _coordinator_step1(group: Case, case: Case) -> tuple[chilldkg.CoordinatorState, bytes]:
    pmsgs1 = _hexes(group["pmsg1Pool"], case["pmsg1Indices"])
    return chilldkg.coordinator_step1(pmsgs1, _params(case))


@valid("coordinator_step1")
def test_coordinator_step1(group: Case, case: Case) -> None:
    _, cmsg1 = _coordinator_step1(group, case)
    assert cmsg1.hex().upper() == case["expectedCmsg1"]


@invalid("coordinator_step1")
def test_coordinator_step1_refuses(group: Case, case: Case) -> None:
    _refused(case["expectedError"], lambda: _coordinator_step1(group, case))


def _finalize(group: Case, case: Case) -> tuple[bytes, DKGOutput, bytes]:
    pmsgs1 = list(map(bytes.fromhex, group["pmsgs1"]))
    state, cmsg1 = chilldkg.coordinator_step1(pmsgs1, _params(group))
    assert cmsg1.hex().upper() == group["cmsg1"]
    return chilldkg.coordinator_finalize(state, _hexes(group["pmsg2Pool"], case["pmsg2Indices"]))


@valid("coordinator_finalize")
def test_coordinator_finalize(group: Case, case: Case) -> None:
    cmsg2, output, recovery_data = _finalize(group, case)
    expected = case["expectedOutput"]
    assert cmsg2.hex().upper() == expected["cmsg2"]
    assert recovery_data.hex().upper() == expected["recoveryData"]
    _same_output(output, expected["dkgOutput"])


@invalid("coordinator_finalize")
def test_coordinator_finalize_refuses(group: Case, case: Case) -> None:
    _refused(case["expectedError"], lambda: _finalize(group, case))


@valid("coordinator_investigate")
def test_coordinator_investigate(group: Case, case: Case) -> None:
    pmsgs1 = list(map(bytes.fromhex, group["pmsgs1"]))
    cinvs = chilldkg.coordinator_investigate(pmsgs1, _params(group))
    assert [cinv.hex().upper() for cinv in cinvs] == case["expectedCinvMsgs"]


def _recover(case: Case) -> tuple[DKGOutput, chilldkg.SessionParams]:
    recovery_data = bytes.fromhex(case["recoveryData"])
    if case["hostseckey"] is None:
        return chilldkg.coordinator_recover(recovery_data)
    return chilldkg.participant_recover(bytes.fromhex(case["hostseckey"]), recovery_data)


@valid("recover")
def test_recover(group: Case, case: Case) -> None:
    output, params = _recover(case)
    _same_output(output, case["expectedOutput"]["dkgOutput"])
    assert params == _params(case["expectedOutput"])


@invalid("recover")
def test_recover_refuses(group: Case, case: Case) -> None:
    _refused(case["expectedError"], lambda: _recover(case))
