"""Our multisig vault and PSBTs beside embit, bdk and Bitcoin Core's consensus code.

Other wallets must read what we write (descriptor, PSBT), derive the same addresses, and make shares
that we accept; Bitcoin Core's script interpreter must accept what we sign.
"""

from __future__ import annotations

from io import BytesIO

import bdkpython
import embit.bip32
import embit.descriptor
import embit.psbt
import embit.transaction
import pbk
import pbk.script
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signer_node.kernel.bitcoin.address import address_from_script
from signer_node.kernel.bitcoin.bip32 import master_from_seed
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.psbt import parse_psbt
from signer_node.kernel.bitcoin.transaction import Transaction, TxOut, parse_transaction
from signer_node.kernel.vault.interface import (
    MAX_INDEX,
    SessionInput,
    SignerCommitments,
    SigningSession,
)
from signer_node.kernel.vault.registry import open_vault
from signer_node.kernel.vault.signer_registry import open_signer
from signer_node.kernel.vault.wsh_sortedmulti_signer import NoNonces
from tests.kernel.bitcoin_samples import NODES, SEEDS, coins, payout, vault_description
from tests.kernel.test_bitcoin_transaction import transactions

DESCRIPTION = vault_description()
VAULT = open_vault(DESCRIPTION)
SPENT = coins(VAULT, 5)
MEMBERS = [SignerCommitments("s1"), SignerCommitments("s3")]


def session() -> SigningSession:
    return VAULT.open_session(payout(VAULT, SPENT, 8), SPENT, MEMBERS)


def our_shares(opened: SigningSession) -> dict[str, tuple[bytes, ...]]:
    return {
        node: open_signer(DESCRIPTION, node).sign(SEEDS[node], opened, NoNonces())
        for node in opened.signers
    }


def verify_by_bitcoin_core(transaction: Transaction, inputs: list[SessionInput]) -> list[bool]:
    """Whether Bitcoin Core's interpreter accepts each input, with all consensus flags."""
    spent = [
        pbk.TransactionOutput(
            pbk.ScriptPubkey(VAULT.script(coin.chain, coin.index)), coin.value_sat
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


def test_bitcoin_core_accepts_what_the_quorum_signs() -> None:
    opened = session()
    signed = VAULT.aggregate(opened, our_shares(opened))
    assert verify_by_bitcoin_core(signed.transaction, SPENT) == [True] * len(SPENT)


def test_bitcoin_core_refuses_a_signature_for_another_amount() -> None:
    opened = session()
    signed = VAULT.aggregate(opened, our_shares(opened))
    wrong = [SessionInput(coin.chain, coin.index, coin.value_sat + 1) for coin in SPENT]
    assert verify_by_bitcoin_core(signed.transaction, wrong) == [False] * len(SPENT)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1), st.integers(0, MAX_INDEX))
def test_embit_derives_the_same_scripts_from_our_descriptor(chain: int, index: int) -> None:
    parsed = embit.descriptor.Descriptor.from_string(VAULT.descriptor.split("#")[0])
    derived = parsed.derive(index, branch_index=chain)
    assert derived.script_pubkey().data == VAULT.script(chain, index)
    assert derived.witness_script().data == VAULT.psbt_output_fields(chain, index).witness_script


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
    vault = open_vault(vault_description(network=network))
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


def test_embit_signs_our_psbt_and_we_accept_its_shares() -> None:
    """Also with the whole previous transactions left out: the amounts are in the witness UTXOs."""
    opened = session()
    psbt = embit.psbt.PSBT.parse(opened.psbt.raw)
    for node in opened.signers:
        xprv = master_from_seed(SEEDS[node], Network.REGTEST).xprv()
        assert psbt.sign_with(embit.bip32.HDKey.from_string(xprv)) == len(SPENT)
    shares = {}
    for node in opened.signers:
        points = [VAULT.derived(coin.chain, coin.index).points[node] for coin in SPENT]  # type: ignore[attr-defined]
        shares[node] = tuple(
            next(bytes(sig) for key, sig in fields.partial_sigs.items() if key.sec() == point)
            for fields, point in zip(psbt.inputs, points, strict=True)
        )
        VAULT.verify_share(opened, node, shares[node])
    signed = VAULT.aggregate(opened, shares)
    assert verify_by_bitcoin_core(signed.transaction, SPENT) == [True] * len(SPENT)


def test_bdk_finalises_our_shares_to_the_same_transaction() -> None:
    opened = session()
    shares = our_shares(opened)
    psbt = embit.psbt.PSBT.parse(opened.psbt.raw)
    for at, coin in enumerate(SPENT):
        points = VAULT.derived(coin.chain, coin.index).points  # type: ignore[attr-defined]
        for node in opened.signers:
            key = embit.ec.PublicKey.parse(points[node])
            psbt.inputs[at].partial_sigs[key] = shares[node][at]
    result = bdkpython.Psbt(psbt.to_base64()).finalize()
    assert result.could_finalize
    assert result.psbt.extract_tx().serialize() == VAULT.aggregate(opened, shares).raw


@given(st.integers(1, 4), st.integers(0, 6), st.integers(0, 0xFFFFFFFF))
@settings(max_examples=25, deadline=None)
def test_what_we_build_embit_writes_again_byte_for_byte(
    inputs: int, payments: int, locktime: int
) -> None:
    built = payout(VAULT, coins(VAULT, inputs), payments, locktime)
    assert embit.psbt.PSBT.parse(built.raw).serialize() == built.raw
    assert parse_psbt(built.raw) == built


@settings(max_examples=60, deadline=None)
@given(transactions())
def test_embit_reads_our_transactions_alike(transaction: Transaction) -> None:
    if transaction.version < 0:
        return
    theirs = embit.transaction.Transaction.read_from(BytesIO(transaction.raw))
    assert theirs.txid()[::-1] == transaction.txid
    assert theirs.serialize() == transaction.raw
    assert parse_transaction(theirs.serialize()) == transaction


@given(st.binary(min_size=32, max_size=32))
def test_bdk_shows_the_same_addresses_for_scripts(data: bytes) -> None:
    scripts = [
        b"\x76\xa9\x14" + data[:20] + b"\x88\xac",
        b"\xa9\x14" + data[:20] + b"\x87",
        b"\x00\x14" + data[:20],
        b"\x00\x20" + data,
    ]
    for script in scripts:
        theirs = bdkpython.Address.from_script(bdkpython.Script(script), bdkpython.Network.REGTEST)
        assert str(theirs) == address_from_script(script, Network.REGTEST)
        assert bdkpython.Script(script).to_bytes() == script


def test_every_cosigner_is_read_by_bdk_as_part_of_one_vault() -> None:
    assert len(NODES) == len(DESCRIPTION.cosigners)
    descriptor = bdkpython.Descriptor(VAULT.descriptor, bdkpython.NetworkKind.TEST)
    assert descriptor.is_multipath()
    singles = descriptor.to_single_descriptors()
    assert len(singles) == 2


def test_dust_and_values_are_carried_unchanged() -> None:
    built = payout(VAULT, SPENT, 3)
    theirs = embit.psbt.PSBT.parse(built.raw)
    assert [TxOut(output.value, output.script_pubkey.data) for output in theirs.tx.vout] == list(
        built.transaction.outputs
    )
