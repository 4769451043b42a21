"""wsh(sortedmulti): t of n sign what the vault derives itself, and culprits have names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import wallycore
from hypothesis import given, settings
from hypothesis import strategies as st

from signer_node.kernel.bitcoin.address import script_from_address
from signer_node.kernel.bitcoin.descriptor import descriptor_script
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.transaction import TxOut, attach_witnesses
from signer_node.kernel.curve import BadSignature, sign_ecdsa
from signer_node.kernel.vault.interface import (
    MAX_INDEX,
    BadCommitments,
    BadShare,
    Cosigner,
    InvalidSession,
    InvalidVault,
    NonceRequest,
    NotSigned,
    SessionInput,
    SignerCommitments,
    SigningSession,
    VaultDescription,
    VaultKeys,
    VaultKindId,
)
from signer_node.kernel.vault.possession import possession_digest, verify_possession
from signer_node.kernel.vault.registry import describe_vault, open_vault
from signer_node.kernel.vault.signer_registry import new_cosigner, open_signer, prove_cosigner
from signer_node.kernel.vault.wsh_sortedmulti_signer import NoNonces
from tests.kernel.bitcoin_samples import (
    KIND,
    NODES,
    SEEDS,
    coins,
    cosigners,
    payout,
    vault_description,
)

DESCRIPTION = vault_description()
VAULT = open_vault(DESCRIPTION)
SIGNERS = {node: open_signer(DESCRIPTION, node) for node in NODES}
NO_NONCES = NoNonces()


def session_of(count: int = 3, nodes: tuple[str, ...] = ("s1", "s3")) -> SigningSession:
    spent = coins(VAULT, count)
    members = [SignerCommitments(node) for node in nodes]
    return VAULT.open_session(payout(VAULT, spent, 4), spent, members)


def shares_of(session: SigningSession) -> dict[str, tuple[bytes, ...]]:
    return {node: SIGNERS[node].sign(SEEDS[node], session, NO_NONCES) for node in session.signers}


# --- scripts ---


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1), st.integers(0, MAX_INDEX))
def test_scripts_are_the_descriptors_and_addresses_theirs(chain: int, index: int) -> None:
    script = VAULT.script(chain, index)
    assert script == descriptor_script(VAULT.descriptor, chain, index)
    assert script_from_address(VAULT.address(chain, index), Network.REGTEST) == script


@pytest.mark.parametrize(("chain", "index"), [(2, 0), (-1, 0), (0, -1), (0, MAX_INDEX + 1)])
def test_there_is_no_script_outside_of_the_two_chains(chain: int, index: int) -> None:
    with pytest.raises(InvalidVault):
        VAULT.script(chain, index)


@pytest.mark.parametrize("network", [Network.MAIN, Network.SIGNET, Network.REGTEST])
def test_a_vault_is_of_one_network(network: Network) -> None:
    description = vault_description(network=network)
    assert open_vault(description).address(0, 0).startswith(network.parameters.bech32_prefix + "1")
    for other in (Network.MAIN, Network.REGTEST):
        if other.parameters.xpub_version != network.parameters.xpub_version:
            with pytest.raises(InvalidVault):
                describe_vault(VaultKeys(KIND, 2, other, description.cosigners))


def _broken_descriptions() -> Iterator[tuple[str, object]]:
    first, second, third = cosigners()
    master = dataclasses.replace(first, xpub=_xpub_at_another_depth())
    yield "unknown kind", _with_keys(kind=VaultKindId.UNKNOWN)
    yield "threshold", _with_keys(threshold=1)
    yield "order", _with_keys(cosigners=(second, first, third))
    yield "checksum", dataclasses.replace(DESCRIPTION, descriptor=DESCRIPTION.descriptor[:-1] + "q")
    yield "network", dataclasses.replace(_with_keys(network=Network.SIGNET), descriptor="")
    yield (
        "depth",
        _described_without_checks((master, second, third)),
    )
    yield (
        "node twice",
        _described_without_checks((first, dataclasses.replace(second, node="s1"), third)),
    )


def _with_keys(**changes: Any) -> VaultDescription:
    """The description with other keys and the same descriptor."""
    return dataclasses.replace(DESCRIPTION, keys=dataclasses.replace(DESCRIPTION.keys, **changes))


def _xpub_at_another_depth() -> str:
    from signer_node.kernel.bitcoin.bip32 import master_from_seed

    return master_from_seed(SEEDS["s1"], Network.REGTEST).xpub()


def _described_without_checks(members: tuple[Cosigner, ...]) -> object:
    return describe_vault(VaultKeys(KIND, 2, Network.REGTEST, members))


@pytest.mark.parametrize(
    "description", [pytest.param(value, id=name) for name, value in _broken_descriptions()]
)
def test_a_description_that_contradicts_itself_is_no_vault(description: object) -> None:
    with pytest.raises(InvalidVault):
        open_vault(description)  # type: ignore[arg-type]


def test_the_same_key_for_two_nodes_makes_no_vault() -> None:
    first, second, _ = cosigners()
    twin = dataclasses.replace(first, node="s3")
    with pytest.raises(InvalidVault, match="same key twice"):
        describe_vault(VaultKeys(KIND, 2, Network.REGTEST, (first, second, twin)))


# --- signing ---


@pytest.mark.parametrize("nodes", [("s1", "s2"), ("s1", "s3"), ("s3", "s2")])
def test_any_two_of_three_sign(nodes: tuple[str, ...]) -> None:
    session = session_of(nodes=nodes)
    shares = shares_of(session)
    for node in nodes:
        VAULT.verify_share(session, node, shares[node])
    signed = VAULT.aggregate(session, shares)
    assert signed.txid == session.psbt.transaction.txid
    VAULT.verify_signed(session.inputs, signed.transaction)
    assert signed.transaction.weight <= VAULT.signed_weight(session.psbt.transaction)
    spare = VAULT.signed_weight(session.psbt.transaction) - signed.transaction.weight
    assert spare <= 6 * len(session.inputs)


def test_wallycore_finalises_the_same_transaction() -> None:
    session = session_of()
    shares = shares_of(session)
    signed = VAULT.aggregate(session, shares)
    psbt = wallycore.psbt_from_bytes(session.psbt.raw, 0)
    for at, coin in enumerate(session.inputs):
        points = VAULT.derived(coin.chain, coin.index).points  # type: ignore[attr-defined]
        for node in session.signers:
            wallycore.psbt_add_input_signature(psbt, at, points[node], shares[node][at])
    wallycore.psbt_finalize(psbt)
    extracted = wallycore.psbt_extract(psbt)
    assert bytes(wallycore.tx_to_bytes(extracted, 1)) == signed.raw


def test_a_vault_of_one_and_a_vault_of_all_sign_too() -> None:
    for threshold in (1, 3):
        description = vault_description(threshold)
        vault = open_vault(description)
        spent = coins(vault, 2)
        members = [SignerCommitments(node) for node in NODES[:threshold]]
        session = vault.open_session(payout(vault, spent, 1), spent, members)
        shares = {
            node: open_signer(description, node).sign(SEEDS[node], session, NO_NONCES)
            for node in session.signers
        }
        vault.verify_signed(spent, vault.aggregate(session, shares).transaction)


def test_signing_again_gives_the_same_shares() -> None:
    session = session_of()
    assert shares_of(session) == shares_of(session)


def test_one_open_session_has_exactly_t_different_cosigners() -> None:
    for nodes in [(), ("s1",), ("s1", "s1"), ("s1", "s2", "s3")]:
        with pytest.raises(InvalidSession, match="signer set"):
            session_of(nodes=nodes)
    with pytest.raises(BadCommitments, match="mallory") as caught:
        session_of(nodes=("s1", "mallory"))
    assert caught.value.node == "mallory"


def test_commitments_are_empty_and_a_signer_that_sends_some_is_named() -> None:
    commitments, nonces = SIGNERS["s1"].commit(SEEDS["s1"], NonceRequest(3, b"", bytes(96)))
    assert commitments == ()
    nonces.destroy()
    VAULT.check_commitments("s1", (), 3)
    with pytest.raises(BadCommitments, match="s1") as caught:
        VAULT.check_commitments("s1", (bytes(66),), 1)
    assert caught.value.node == "s1"


def test_a_session_covers_every_input() -> None:
    spent = coins(VAULT, 3)
    psbt = payout(VAULT, spent, 1)
    members = [SignerCommitments("s1"), SignerCommitments("s2")]
    for wrong in (spent[:2], [*spent, spent[0]]):
        with pytest.raises(InvalidSession, match="each input"):
            VAULT.open_session(psbt, wrong, members)


def _wrong_coin(coin: SessionInput) -> list[SessionInput]:
    return [
        dataclasses.replace(coin, value_sat=coin.value_sat + 1),
        dataclasses.replace(coin, index=coin.index + 1),
        dataclasses.replace(coin, chain=1 - coin.chain),
    ]


@pytest.mark.parametrize("number", range(3))
def test_a_psbt_that_says_something_else_than_what_is_signed_is_refused(number: int) -> None:
    spent = coins(VAULT, 3)
    psbt = payout(VAULT, spent, 1)
    members = [SignerCommitments("s1"), SignerCommitments("s2")]
    with pytest.raises(InvalidSession):
        VAULT.open_session(psbt, [_wrong_coin(spent[0])[number], *spent[1:]], members)


def test_fields_of_a_psbt_input_must_be_the_vaults() -> None:
    spent = coins(VAULT, 1)
    fields = payout(VAULT, spent, 1).inputs[0]
    VAULT.check_psbt_input(fields, spent[0])
    paths = fields.key_paths
    moved = dataclasses.replace(paths[0], path=(*paths[0].path[:-1], 9))
    for wrong in (
        dataclasses.replace(fields, sighash=0),
        dataclasses.replace(fields, sighash=0x81),
        dataclasses.replace(fields, witness_utxo=None),
        dataclasses.replace(fields, witness_script=b"\x51"),
        dataclasses.replace(fields, key_paths=paths[:-1]),
        dataclasses.replace(fields, key_paths=(moved, *paths[1:])),
    ):
        with pytest.raises(InvalidSession):
            VAULT.check_psbt_input(wrong, spent[0])


def test_psbt_fields_for_a_foreign_script_are_not_made() -> None:
    with pytest.raises(InvalidVault):
        VAULT.psbt_input_fields(0, 0, TxOut(1_000, VAULT.script(0, 1)))


# --- culprits ---


@pytest.mark.parametrize("culprit", ["s1", "s3"])
@pytest.mark.parametrize("at", [0, 2])
def test_a_wrong_share_names_its_signer_and_input(culprit: str, at: int) -> None:
    session = session_of()
    shares = shares_of(session)
    forged = list(shares[culprit])
    forged[at] = forged[(at + 1) % 3]
    shares[culprit] = tuple(forged)
    with pytest.raises(BadShare, match=culprit) as caught:
        VAULT.aggregate(session, shares)
    assert (caught.value.node, caught.value.input_index) == (culprit, at)
    with pytest.raises(BadShare):
        VAULT.verify_share(session, culprit, shares[culprit])


def test_a_missing_or_short_share_names_its_signer() -> None:
    session = session_of()
    shares = shares_of(session)
    for wrong in ({"s1": shares["s1"]}, {**shares, "s3": shares["s3"][:-1]}, {**shares, "s3": ()}):
        with pytest.raises(BadShare) as caught:
            VAULT.aggregate(session, wrong)
        assert (caught.value.node, caught.value.input_index) == ("s3", None)
    with pytest.raises(BadShare, match="not of this session"):
        VAULT.verify_share(session, "s2", shares["s1"])


def test_a_share_by_another_cosigners_key_is_refused() -> None:
    session = session_of()
    shares = shares_of(session)
    with pytest.raises(BadShare) as caught:
        VAULT.verify_share(session, "s3", shares["s1"])
    assert caught.value.node == "s3"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), st.binary(max_size=80))
def test_any_other_bytes_are_a_bad_share(at: int, share: bytes) -> None:
    session = SESSION
    forged = list(SHARES["s1"])
    forged[at] = share
    with pytest.raises(BadShare):
        VAULT.verify_share(session, "s1", tuple(forged))


SESSION = session_of()
SHARES = shares_of(SESSION)


@pytest.mark.parametrize("suffix", [b"", b"\x00", b"\x02", b"\x03", b"\x81", b"\x01\x01"])
def test_a_share_with_another_sighash_type_is_refused(suffix: bytes) -> None:
    forged = (SHARES["s1"][0][:-1] + suffix, *SHARES["s1"][1:])
    with pytest.raises(BadShare):
        VAULT.verify_share(SESSION, "s1", forged)


def test_too_few_signatures_are_not_a_signed_transaction() -> None:
    """wallycore finalises them without a word."""
    signed = VAULT.aggregate(SESSION, SHARES).transaction
    unsigned = SESSION.psbt.transaction
    empty, first, second, script = signed.witnesses[0]
    for stack in (
        (empty, first, script),
        (empty, second, first, script),
        (empty, first, first, script),
        (b"\x00", first, second, script),
        (empty, first, second, b"\x51"),
        (empty, first, second, script, script),
        (),
    ):
        tampered = attach_witnesses(unsigned, [stack, *signed.witnesses[1:]])
        with pytest.raises(NotSigned):
            VAULT.verify_signed(SESSION.inputs, tampered)
    with pytest.raises(NotSigned):
        VAULT.verify_signed(SESSION.inputs, unsigned)
    with pytest.raises(NotSigned):
        VAULT.verify_signed(SESSION.inputs[:-1], signed)
    wrong = (dataclasses.replace(SESSION.inputs[0], value_sat=1), *SESSION.inputs[1:])
    with pytest.raises(NotSigned):
        VAULT.verify_signed(wrong, signed)


# --- secrets ---


def test_a_seed_that_is_not_the_certified_one_signs_nothing() -> None:
    with pytest.raises(InvalidSession, match="certified"):
        SIGNERS["s1"].sign(SEEDS["s2"], SESSION, NO_NONCES)
    with pytest.raises(InvalidVault, match="32 bytes"):
        SIGNERS["s1"].sign(b"\x07" * 16, SESSION, NO_NONCES)


def test_a_signer_outside_of_the_set_signs_nothing() -> None:
    with pytest.raises(InvalidSession, match="no part"):
        SIGNERS["s2"].sign(SEEDS["s2"], SESSION, NO_NONCES)
    with pytest.raises(InvalidVault, match="no cosigner"):
        open_signer(DESCRIPTION, "mallory")
    with pytest.raises(InvalidVault):
        open_signer(_with_keys(kind=VaultKindId.UNKNOWN), "s1")


def test_no_secret_shows_in_what_a_signer_is_or_says() -> None:
    seed = SEEDS["s1"]
    assert seed.hex() not in repr(SIGNERS["s1"]) + repr(vars(SIGNERS["s1"]))
    for attempt in (seed[:-1], seed + b"\x00"):
        with pytest.raises(InvalidVault) as caught:
            new_cosigner(KIND, attempt, "s1", Network.REGTEST)
        assert seed.hex()[:16] not in str(caught.value)


def test_an_unknown_kind_has_no_keys() -> None:
    kind = VaultKindId.UNKNOWN
    with pytest.raises(InvalidVault):
        new_cosigner(kind, SEEDS["s1"], "s1", Network.REGTEST)
    with pytest.raises(InvalidVault):
        prove_cosigner(kind, SEEDS["s1"], Network.REGTEST, bytes(32), bytes(32))
    with pytest.raises(InvalidVault):
        describe_vault(VaultKeys(kind, 2, Network.REGTEST, cosigners()))


# --- possession ---


def test_possession_is_proved_by_the_xpubs_own_key_for_one_purpose() -> None:
    member = cosigners()[0]
    genesis = bytes(range(32))
    digest = possession_digest(genesis, "hot", 0, "s1", member.xpub)
    proof = prove_cosigner(KIND, SEEDS["s1"], Network.REGTEST, digest, bytes(32))
    verify_possession(Network.REGTEST, member.xpub, digest, proof)
    others = [
        possession_digest(bytes(32), "hot", 0, "s1", member.xpub),
        possession_digest(genesis, "warm", 0, "s1", member.xpub),
        possession_digest(genesis, "hot", 1, "s1", member.xpub),
        possession_digest(genesis, "hot", 0, "s2", member.xpub),
        possession_digest(genesis, "hot", 0, "s1", cosigners()[1].xpub),
    ]
    assert len({digest, *others}) == 6
    for other in others:
        with pytest.raises(BadSignature):
            verify_possession(Network.REGTEST, member.xpub, other, proof)
    with pytest.raises(BadSignature):
        verify_possession(Network.REGTEST, cosigners()[1].xpub, digest, proof)


def test_a_signature_for_a_coin_is_no_possession_proof() -> None:
    digest = possession_digest(bytes(32), "hot", 0, "s1", cosigners()[0].xpub)
    with pytest.raises(BadSignature):
        verify_possession(
            Network.REGTEST, cosigners()[0].xpub, digest, sign_ecdsa(SEEDS["s1"], digest)
        )
