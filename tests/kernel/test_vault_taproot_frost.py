"""The vault kind taproot-frost: one threshold key, its scripts, its sessions, who is named."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer_node.kernel.bitcoin.address import script_from_address
from signer_node.kernel.bitcoin.bip32 import parse_xpub, synthetic_xpub
from signer_node.kernel.bitcoin.descriptor import descriptor_script
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.transaction import TxOut, attach_witnesses
from signer_node.kernel.curve import tagged_hash, verify_schnorr
from signer_node.kernel.frost.points import cpoint
from signer_node.kernel.vault.interface import (
    MAX_INDEX,
    BadCommitments,
    BadShare,
    InvalidSession,
    InvalidVault,
    NotSigned,
    Shareholder,
    SignerCommitments,
    SigningSession,
    ThresholdKey,
    VaultDescription,
)
from signer_node.kernel.vault.registry import describe_vault, open_vault
from signer_node.kernel.vault.signer_registry import find_signer, new_cosigner, open_signer
from signer_node.kernel.vault.wsh_sortedmulti_signer import NoNonces
from tests.kernel import bitcoin_samples
from tests.kernel.bitcoin_samples import coins, payout
from tests.kernel.threshold_vaults import KIND, begin_signing, node, quorum, request

QUORUM = quorum()
VAULT = QUORUM.vault
NAMES = ("s1", "s3")


def with_keys(**changes: Any) -> VaultDescription:
    return dataclasses.replace(
        QUORUM.description, keys=dataclasses.replace(QUORUM.description.keys, **changes)
    )


def with_key(**changes: Any) -> VaultDescription:
    key = QUORUM.description.keys.threshold_key
    assert key is not None
    return describe_vault(
        dataclasses.replace(
            QUORUM.description.keys, threshold_key=dataclasses.replace(key, **changes)
        )
    )


def the_key() -> ThresholdKey:
    key = QUORUM.description.keys.threshold_key
    assert key is not None
    return key


# --- scripts ---


@given(st.integers(0, 1), st.integers(0, MAX_INDEX))
@settings(max_examples=40)
def test_scripts_are_those_of_the_descriptor(chain: int, index: int) -> None:
    script = VAULT.script(chain, index)
    assert descriptor_script(VAULT.descriptor, chain, index) == script
    assert script_from_address(VAULT.address(chain, index), Network.REGTEST) == script


def test_a_script_is_the_threshold_keys_child_without_a_script_path() -> None:
    """BIP-86: the internal key commits to no script, and to that alone."""
    key = the_key()
    xpub = synthetic_xpub(key.public_key, key.chain_code, Network.REGTEST)
    child, _tweak = parse_xpub(xpub, Network.REGTEST).branch(0).tweaked_child(3)
    output = cpoint(b"\x02" + child[1:]).add(tagged_hash("TapTweak", child[1:]))
    assert VAULT.script(0, 3) == b"\x51\x20" + output.format()[1:]


@pytest.mark.parametrize(("chain", "index"), [(2, 0), (-1, 0), (0, -1), (0, MAX_INDEX + 1)])
def test_there_is_no_script_outside_of_the_two_chains(chain: int, index: int) -> None:
    with pytest.raises(InvalidVault):
        VAULT.script(chain, index)


@pytest.mark.parametrize("network", [Network.MAIN, Network.SIGNET, Network.REGTEST])
def test_a_vault_is_of_one_network(network: Network) -> None:
    vault = quorum(network=network).vault
    assert vault.address(0, 0).startswith(network.parameters.bech32_prefix + "1p")


def test_another_chain_code_gives_other_scripts() -> None:
    other = open_vault(with_key(chain_code=bytes(31) + b"\x01"))
    assert other.script(0, 0) != VAULT.script(0, 0)


# --- descriptions that are none ---


def broken() -> list[tuple[str, Any]]:
    key = the_key()
    first, second, third = key.members
    strange = Shareholder("s2", first.pubshare)
    sample = bitcoin_samples.cosigners()
    return [
        ("a lower threshold", lambda: open_vault(with_keys(threshold=1))),
        ("no threshold", lambda: open_vault(with_keys(threshold=0))),
        ("more than there are", lambda: open_vault(with_keys(threshold=4))),
        ("order", lambda: open_vault(with_key(members=(second, first, third)))),
        ("share of another", lambda: open_vault(with_key(members=(first, strange, third)))),
        ("node twice", lambda: open_vault(with_key(members=(first, first, third)))),
        ("a share off the curve", lambda: open_vault(
            with_key(members=(first, Shareholder("s2", b"\x02" + b"\xff" * 32), third)))),
        ("too few shares", lambda: open_vault(with_key(members=(first,)))),
        ("no shares", lambda: open_vault(with_key(members=()))),
        ("another key", lambda: open_vault(with_key(public_key=first.pubshare))),
        ("the key negated", lambda: open_vault(
            with_key(public_key=bytes((key.public_key[0] ^ 1,)) + key.public_key[1:]))),
        ("no point", lambda: with_key(public_key=b"\x02" + b"\xff" * 32)),
        ("a short chain code", lambda: with_key(chain_code=bytes(31))),
        ("no key", lambda: open_vault(with_keys(threshold_key=None))),
        ("cosigners too", lambda: open_vault(with_keys(cosigners=sample))),
        ("network", lambda: open_vault(with_keys(network=Network.MAIN))),
        ("checksum", lambda: open_vault(
            dataclasses.replace(QUORUM.description, descriptor=VAULT.descriptor[:-1] + "q"))),
        ("a multisig with this key", lambda: describe_vault(
            dataclasses.replace(bitcoin_samples.vault_description().keys, threshold_key=key))),
    ]  # fmt: skip


@pytest.mark.parametrize("attempt", [pytest.param(one, id=name) for name, one in broken()])
def test_a_description_that_contradicts_itself_is_no_vault(attempt: Any) -> None:
    with pytest.raises(InvalidVault):
        attempt()


def test_there_are_no_cosigners_of_this_kind() -> None:
    with pytest.raises(InvalidVault):
        new_cosigner(KIND, bytes(32), "s1", Network.REGTEST)


# --- signing ---


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (1, 3), (2, 2), (2, 3), (3, 5), (5, 5)])
def test_any_t_of_n_sign_and_each_input_has_one_signature(threshold: int, count: int) -> None:
    one = quorum(threshold, count)
    for start in range(count):
        names = sorted(node((start + at) % count) for at in range(threshold))
        signing = begin_signing(one, names, inputs=3)
        signed = one.vault.aggregate(signing.session, signing.shares())
        assert [len(stack) for stack in signed.transaction.witnesses] == [1, 1, 1]
        assert {len(stack[0]) for stack in signed.transaction.witnesses} == {64}
        assert signed.transaction.weight == one.vault.signed_weight(signing.psbt.transaction)
        assert one.vault.input_weight == 4 * 41 + 1 + 1 + 64
        digests = one.vault.digests(signing.psbt.transaction, signing.spent)
        for coin, digest, stack in zip(
            signing.spent, digests, signed.transaction.witnesses, strict=True
        ):
            verify_schnorr(one.vault.script(coin.chain, coin.index)[2:], digest, stack[0])


def test_one_signature_differs_from_the_next_but_both_are_the_quorums() -> None:
    first, second = (begin_signing(QUORUM, NAMES, seed=seed) for seed in (1, 2))
    signed = [VAULT.aggregate(one.session, one.shares()) for one in (first, second)]
    assert signed[0].txid == signed[1].txid
    assert signed[0].transaction.witnesses != signed[1].transaction.witnesses


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1), st.integers(0, 1), st.integers(0, 255))
def test_a_share_with_one_bit_changed_is_named(who: int, at: int, bit: int) -> None:
    signing = begin_signing(QUORUM, NAMES)
    shares = signing.shares()
    name = NAMES[who]
    changed = bytearray(shares[name][at])
    changed[bit // 8] ^= 1 << bit % 8
    bad = list(shares[name])
    bad[at] = bytes(changed)
    with pytest.raises(BadShare) as caught:
        VAULT.aggregate(signing.session, {**shares, name: tuple(bad)})
    assert (caught.value.node, caught.value.input_index) == (name, at)
    with pytest.raises(BadShare) as caught:
        VAULT.verify_share(signing.session, name, tuple(bad))
    assert caught.value.node == name


@pytest.mark.parametrize("share", [b"", bytes(31), bytes(33), b"\xff" * 32, bytes(32), bytes(64)])
def test_a_share_that_is_none_is_named(share: bytes) -> None:
    signing = begin_signing(QUORUM, NAMES)
    shares = {**signing.shares(), "s3": (share, signing.share("s3")[1])}
    with pytest.raises(BadShare) as caught:
        VAULT.aggregate(signing.session, shares)
    assert (caught.value.node, caught.value.input_index) == ("s3", 0)


def test_shares_that_are_missing_or_too_many_are_named() -> None:
    signing = begin_signing(QUORUM, NAMES)
    shares = signing.shares()
    for bad in ((), shares["s3"][:1], (*shares["s3"], bytes(32))):
        with pytest.raises(BadShare, match="s3"):
            VAULT.aggregate(signing.session, {**shares, "s3": bad})
        with pytest.raises(BadShare, match="s3"):
            VAULT.verify_share(signing.session, "s3", bad)
    with pytest.raises(BadShare, match="s2"):
        VAULT.verify_share(signing.session, "s2", shares["s3"])


def test_two_liars_whose_shares_add_up_right_are_no_harm() -> None:
    """The sum is what counts; what leaves is a valid signature, and both would be named."""
    signing = begin_signing(QUORUM, NAMES, inputs=1)
    shares = signing.shares()
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    moved = {
        name: (((int.from_bytes(shares[name][0], "big") + step) % order).to_bytes(32, "big"),)
        for name, step in (("s1", 5), ("s3", -5))
    }
    assert VAULT.aggregate(signing.session, moved).raw == (
        VAULT.aggregate(signing.session, shares).raw
    )
    for name in NAMES:
        with pytest.raises(BadShare, match=name):
            VAULT.verify_share(signing.session, name, moved[name])


# --- sessions ---


def test_the_signer_set_is_of_t_different_members() -> None:
    signing = begin_signing(QUORUM, NAMES)
    first, second = signing.session.members
    for members in ([], [first], [first, first], [first, second, second]):
        with pytest.raises(InvalidSession, match="signer set"):
            VAULT.open_session(signing.psbt, signing.spent, members)
    stranger = SignerCommitments("mallory", second.commitments)
    with pytest.raises(BadCommitments) as caught:
        VAULT.open_session(signing.psbt, signing.spent, [first, stranger])
    assert caught.value.node == "mallory"


@pytest.mark.parametrize(
    "nonce",
    [b"", bytes(66), b"\x02" * 65, b"\x02" + b"\xff" * 32 + b"\x02" + b"\xff" * 32, b"\x04" * 66],
    ids=["empty", "infinity", "short", "off the curve", "another form"],
)
def test_a_commitment_that_is_none_names_its_signer(nonce: bytes) -> None:
    signing = begin_signing(QUORUM, NAMES)
    first, second = signing.session.members
    bad = SignerCommitments(second.node, (second.commitments[0], nonce))
    with pytest.raises(BadCommitments, match="input 1") as caught:
        VAULT.open_session(signing.psbt, signing.spent, [first, bad])
    assert caught.value.node == "s3"
    with pytest.raises(BadCommitments, match="s3"):
        VAULT.check_commitments("s3", bad.commitments, 2)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_there_is_one_commitment_for_each_input(count: int) -> None:
    commitments = begin_signing(QUORUM, NAMES).session.members[0].commitments
    VAULT.check_commitments("s1", commitments, 2)
    with pytest.raises(BadCommitments, match="for 2 inputs"):
        VAULT.check_commitments("s1", (commitments * 2)[:count], 2)


def test_a_session_covers_every_input_as_the_vault_derives_it() -> None:
    signing = begin_signing(QUORUM, NAMES)
    first, second = signing.spent
    for wrong in (
        [first],
        [first, dataclasses.replace(second, value_sat=second.value_sat + 1)],
        [first, dataclasses.replace(second, index=second.index + 1)],
        [second, first],
    ):
        with pytest.raises((InvalidSession, InvalidVault, BadCommitments)):
            VAULT.open_session(signing.psbt, wrong, signing.session.members)


def test_what_the_psbt_says_must_be_what_is_signed() -> None:
    spent = coins(VAULT, 1)[0]
    fields = payout(VAULT, [spent], 1).inputs[0]
    VAULT.check_psbt_input(fields, spent)
    path = fields.tap_key_paths[0]
    for wrong in (
        dataclasses.replace(fields, sighash=1),
        dataclasses.replace(fields, sighash=0x81),
        dataclasses.replace(fields, witness_utxo=None),
        dataclasses.replace(fields, witness_script=b"\x51"),
        dataclasses.replace(fields, tap_internal_key=b""),
        dataclasses.replace(fields, tap_internal_key=VAULT.script(0, 0)[2:]),
        dataclasses.replace(fields, tap_key_paths=()),
        dataclasses.replace(fields, tap_key_paths=(dataclasses.replace(path, path=(0, 9)),)),
        dataclasses.replace(
            fields, tap_key_paths=(dataclasses.replace(path, fingerprint=bytes(4)),)
        ),
    ):
        with pytest.raises(InvalidSession):
            VAULT.check_psbt_input(wrong, spent)
    with pytest.raises(InvalidVault):
        VAULT.psbt_input_fields(0, 0, TxOut(1_000, b"\x51"))


def test_a_session_of_another_vault_is_not_this_ones() -> None:
    other = quorum(session=1)
    theirs = begin_signing(other, NAMES)
    with pytest.raises(InvalidSession, match="not one of this vault"):
        VAULT.verify_share(theirs.session, "s1", theirs.share("s1"))
    with pytest.raises(InvalidSession, match="not one of this vault"):
        VAULT.aggregate(theirs.session, theirs.shares())
    bare = SigningSession(theirs.psbt, tuple(theirs.spent), theirs.session.members)
    with pytest.raises(InvalidSession, match="not one of this vault"):
        other.vault.aggregate(bare, theirs.shares())


# --- a finished transaction ---


def test_only_the_quorums_signatures_pass_the_last_look() -> None:
    signing = begin_signing(QUORUM, NAMES)
    signed = VAULT.aggregate(signing.session, signing.shares())
    VAULT.verify_signed(signing.spent, signed.transaction)
    first, second = signed.transaction.witnesses
    unsigned = signing.psbt.transaction
    for stacks in (
        [first, first],
        [second, first],
        [first, (second[0] + b"\x01",)],
        [first, (*second, b"\x50")],
        [first, (second[0][:63],)],
        [first, ()],
    ):
        with pytest.raises(NotSigned):
            VAULT.verify_signed(signing.spent, attach_witnesses(unsigned, stacks))
    with pytest.raises(NotSigned):
        VAULT.verify_signed(signing.spent, unsigned)
    with pytest.raises(NotSigned):
        VAULT.verify_signed(signing.spent[:1], signed.transaction)
    wrong = [dataclasses.replace(signing.spent[0], value_sat=1), signing.spent[1]]
    with pytest.raises(NotSigned, match="input 0"):
        VAULT.verify_signed(wrong, signed.transaction)


# --- nonces ---


def test_nonces_sign_once_whatever_comes_of_it() -> None:
    signing = begin_signing(QUORUM, NAMES)
    signer, share = open_signer(QUORUM.description, "s1"), QUORUM.shares["s1"]
    signing.share("s1")
    with pytest.raises(InvalidSession, match="used before"):
        signer.sign(share, signing.session, signing.nonces["s1"])
    other = begin_signing(QUORUM, NAMES, seed=7)
    with pytest.raises(InvalidSession, match="committed"):
        signer.sign(share, signing.session, other.nonces["s1"])
    with pytest.raises(InvalidSession, match="used before"):
        signer.sign(share, other.session, other.nonces["s1"])


def test_nonces_that_were_destroyed_sign_nothing() -> None:
    signing = begin_signing(QUORUM, NAMES)
    signing.nonces["s1"].destroy()
    signing.nonces["s1"].destroy()
    with pytest.raises(InvalidSession, match="used before"):
        signing.share("s1")


def test_nonces_of_another_kind_sign_nothing() -> None:
    signing = begin_signing(QUORUM, NAMES)
    with pytest.raises(InvalidSession, match="this kind"):
        open_signer(QUORUM.description, "s1").sign(QUORUM.shares["s1"], signing.session, NoNonces())


def test_nonces_are_neither_copied_nor_pickled_nor_shown() -> None:
    nonces = begin_signing(QUORUM, NAMES).nonces["s1"]
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            duplicate(nonces)
    assert repr(nonces) == "FrostNonces(...)"


def test_no_two_inputs_sessions_or_signers_have_a_nonce_in_common() -> None:
    """Also when the randomness repeats: share, context and input go into the nonce."""
    seen: set[bytes] = set()
    asked = 0
    same = dataclasses.replace(request(3), entropy=bytes(96))
    for name in ("s1", "s2"):
        signer = open_signer(QUORUM.description, name)
        for context in (b"boot 1", b"boot 2"):
            commitments, _nonces = signer.commit(
                QUORUM.shares[name], dataclasses.replace(same, context=context)
            )
            seen.update(one[start : start + 33] for one in commitments for start in (0, 33))
            asked += 6
    assert len(seen) == asked


@pytest.mark.parametrize("length", [0, 31, 63, 65, 96])
def test_nonces_take_fresh_bytes_for_each_input(length: int) -> None:
    with pytest.raises(InvalidSession, match="random bytes"):
        open_signer(QUORUM.description, "s1").commit(
            QUORUM.shares["s1"], dataclasses.replace(request(2), entropy=bytes(length))
        )


# --- whose share ---


def test_a_signer_is_found_by_its_share() -> None:
    for name, share in QUORUM.shares.items():
        assert find_signer(QUORUM.description, share).node == name
    for nobodys in (quorum(session=1).shares["s1"], bytes(32), b"\xff" * 32, b"short"):
        with pytest.raises(InvalidVault):
            find_signer(QUORUM.description, nobodys)
    with pytest.raises(InvalidVault, match="mallory"):
        open_signer(QUORUM.description, "mallory")


def test_a_share_that_is_not_the_certified_one_signs_nothing() -> None:
    signing = begin_signing(QUORUM, NAMES)
    signer = open_signer(QUORUM.description, "s1")
    with pytest.raises(InvalidSession, match="pubshare"):
        signer.sign(QUORUM.shares["s2"], signing.session, signing.nonces["s1"])


def test_a_signer_outside_of_the_set_signs_nothing() -> None:
    signing = begin_signing(QUORUM, NAMES)
    signer = open_signer(QUORUM.description, "s2")
    _commitments, nonces = signer.commit(QUORUM.shares["s2"], request(2, 9))
    with pytest.raises(InvalidSession, match="s2"):
        signer.sign(QUORUM.shares["s2"], signing.session, nonces)


def test_no_secret_shows_in_what_a_signer_is_or_says() -> None:
    share = QUORUM.shares["s1"]
    signer = open_signer(QUORUM.description, "s1")
    shown = repr(signer) + repr(vars(signer)) + repr(QUORUM.description)
    assert share.hex() not in shown
    for attempt in (share[:-1], share + b"\x00"):
        with pytest.raises(InvalidVault) as caught:
            find_signer(QUORUM.description, attempt)
        assert share.hex()[:16] not in str(caught.value)
