"""Our threshold vault and its PSBTs beside embit, bdk and Bitcoin Core's consensus code.

On chain a payout of the quorum is one of a single key: other wallets must read the descriptor and
the PSBT and derive the same addresses, and Bitcoin Core's script interpreter must accept it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import bdkpython
import embit.descriptor
import embit.psbt
import pbk
import pbk.script
import pytest
import wallycore
from embit.transaction import SIGHASH
from hypothesis import given, settings
from hypothesis import strategies as st

from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.psbt import parse_psbt
from signer_node.kernel.bitcoin.transaction import Transaction, attach_witnesses
from signer_node.kernel.vault.interface import MAX_INDEX, SessionInput, VaultKind
from tests.kernel.bitcoin_samples import coins, payout
from tests.kernel.threshold_vaults import begin_signing, quorum
from tests.world.payouts import Draft, coin, propose, request, sign
from tests.world.quorum import KINDS, World

QUORUM = quorum()
VAULT = QUORUM.vault


def verify_by_bitcoin_core(
    vault: VaultKind, transaction: Transaction, inputs: Sequence[SessionInput]
) -> list[bool]:
    """Whether Bitcoin Core's interpreter accepts each input, with all consensus flags."""
    spent = [
        pbk.TransactionOutput(
            pbk.ScriptPubkey(vault.script(coin.chain, coin.index)), coin.value_sat
        )
        for coin in inputs
    ]
    parsed = pbk.Transaction(transaction.raw)
    precomputed = pbk.script.PrecomputedTransactionData(parsed, spent)
    flags = pbk.ScriptVerificationFlags.ALL
    return [
        bool(output.script_pubkey.verify(output.amount, parsed, precomputed, at, flags))
        for at, output in enumerate(spent)
    ]


@pytest.mark.parametrize(
    ("threshold", "count", "names"),
    [(1, 1, ["s1"]), (2, 3, ["s2", "s3"]), (3, 5, ["s1", "s2", "s5"]), (2, 3, ["s3", "s1"])],
)
@pytest.mark.parametrize("inputs", [1, 5])
def test_bitcoin_core_accepts_what_the_quorum_signs(
    threshold: int, count: int, names: list[str], inputs: int
) -> None:
    one = quorum(threshold, count)
    signing = begin_signing(one, names, inputs)
    signed = one.vault.aggregate(signing.session, signing.shares())
    assert verify_by_bitcoin_core(one.vault, signed.transaction, signing.spent) == [True] * inputs


def test_bitcoin_core_refuses_a_signature_for_another_amount_or_script() -> None:
    signing = begin_signing(QUORUM, ["s1", "s2"], 2)
    signed = VAULT.aggregate(signing.session, signing.shares()).transaction
    first, second = signing.spent
    dearer = [dataclasses.replace(first, value_sat=first.value_sat + 1), second]
    assert verify_by_bitcoin_core(VAULT, signed, dearer) == [False, False]
    moved = [first, dataclasses.replace(second, index=second.index + 1)]
    assert verify_by_bitcoin_core(VAULT, signed, moved) == [False, False]


def test_bitcoin_core_and_we_refuse_the_same_witnesses() -> None:
    signing = begin_signing(QUORUM, ["s1", "s2"], 1)
    signed = VAULT.aggregate(signing.session, signing.shares()).transaction
    ((signature,),) = signed.witnesses
    for stack in ((signature[:-1] + bytes((signature[-1] ^ 1,)),), (signature[:63],)):
        changed = attach_witnesses(signing.psbt.transaction, [stack])
        assert verify_by_bitcoin_core(VAULT, changed, signing.spent) == [False]
        with pytest.raises(ValueError, match="input 0"):
            VAULT.verify_signed(signing.spent, changed)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_bitcoin_core_accepts_a_payout_that_nodes_signed(kind: object) -> None:
    """The whole way: vault, manifest, approvals, rounds, shares."""
    world = World(kind=kind)  # type: ignore[arg-type]
    spent = [coin(world, index=at) for at in range(3)]
    one = Draft(world, spent, [request(world, "w-1", 25_000_000)])
    assert set(propose(world, one).values()) == {None}
    signed = sign(world, one, ["s1", "s3"])
    inputs = [
        SessionInput(each.evidence.chain, each.evidence.index, each.value_sat) for each in spent
    ]
    assert verify_by_bitcoin_core(world.vault.kind, signed.transaction, inputs) == [True] * 3


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1), st.integers(0, MAX_INDEX))
def test_embit_derives_the_same_scripts_from_our_descriptor(chain: int, index: int) -> None:
    parsed = embit.descriptor.Descriptor.from_string(VAULT.descriptor.split("#")[0])
    derived = parsed.derive(index, branch_index=chain)
    assert derived.script_pubkey().data == VAULT.script(chain, index)


@pytest.mark.parametrize(
    ("network", "theirs"),
    [
        (Network.MAIN, bdkpython.Network.BITCOIN),
        (Network.SIGNET, bdkpython.Network.SIGNET),
        (Network.REGTEST, bdkpython.Network.REGTEST),
    ],
)
def test_bdk_reads_our_descriptor_and_shows_the_same_addresses(
    network: Network, theirs: bdkpython.Network
) -> None:
    vault = quorum(network=network).vault
    kind = bdkpython.NetworkKind.MAIN if network is Network.MAIN else bdkpython.NetworkKind.TEST
    descriptor = bdkpython.Descriptor(vault.descriptor, kind)
    wallet = bdkpython.Wallet.create_from_two_path_descriptor(
        descriptor, theirs, bdkpython.Persister.new_in_memory()
    )
    chains = (bdkpython.KeychainKind.EXTERNAL, bdkpython.KeychainKind.INTERNAL)
    for chain, keychain in enumerate(chains):
        for index in (0, 1, 21):
            address = wallet.peek_address(keychain, index).address
            assert str(address) == vault.address(chain, index)


@given(st.integers(1, 4), st.integers(0, 6), st.integers(0, 0xFFFFFFFF))
@settings(max_examples=25, deadline=None)
def test_what_we_build_embit_writes_again_byte_for_byte(
    inputs: int, payments: int, locktime: int
) -> None:
    built = payout(VAULT, coins(VAULT, inputs), payments, locktime)
    assert embit.psbt.PSBT.parse(built.raw).serialize() == built.raw
    assert parse_psbt(built.raw) == built


def test_embit_computes_the_same_signature_hashes_from_our_psbt() -> None:
    spent = coins(VAULT, 4)
    built = payout(VAULT, spent, 3)
    theirs = embit.psbt.PSBT.parse(built.raw)
    digests = VAULT.digests(built.transaction, spent)
    assert [theirs.sighash(at, SIGHASH.DEFAULT) for at in range(4)] == list(digests)


def test_bdk_finalises_our_signatures_to_the_same_transaction() -> None:
    signing = begin_signing(QUORUM, ["s1", "s2"], 3)
    signed = VAULT.aggregate(signing.session, signing.shares())
    psbt = wallycore.psbt_from_bytes(signing.psbt.raw, 0)
    for at, stack in enumerate(signed.transaction.witnesses):
        wallycore.psbt_set_input_taproot_signature(psbt, at, stack[0])
    result = bdkpython.Psbt(wallycore.psbt_to_base64(psbt, 0)).finalize()
    assert result.could_finalize
    assert result.psbt.extract_tx().serialize() == signed.raw


def test_a_payout_has_nothing_that_tells_it_from_a_single_keys() -> None:
    """One signature of 64 bytes for each input, of whatever quorum."""
    for threshold, count in ((1, 1), (2, 3), (5, 7)):
        one = quorum(threshold, count)
        names = [f"s{number + 1}" for number in range(threshold)]
        signing = begin_signing(one, names, 2)
        signed = one.vault.aggregate(signing.session, signing.shares())
        assert [tuple(map(len, stack)) for stack in signed.transaction.witnesses] == [(64,), (64,)]
