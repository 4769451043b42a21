"""The multisig work of a batch of 10 inputs and 200 outputs, beside embit and bdk.

Every side starts from the same keys, coins and payments and goes the same way:

1. the builder makes the PSBT (witness UTXOs, scripts and key paths given; change to the vault);
2. two signers of three each read the PSBT's bytes and sign all inputs;
3. the builder combines the signatures, finalises, verifies every signature and writes the signed
   transaction.

Ours runs as it does in custody: each of the three parties opens the vault anew within the clock,
remembers nothing, and the signers verify their own shares too. embit gets its descriptor and its
root keys parsed before the clock starts, bdk its three wallets opened with the coins in them (new
ones for each round). bdk verifies within `Psbt.finalize`; embit verifies nothing by itself, so
each partial signature is verified with its own `PublicKey.verify` over its own `PSBT.sighash`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import bdkpython as bdk
import embit.bip32
import embit.descriptor
import embit.ec
import embit.finalizer
import embit.psbt
import embit.script
import embit.transaction

from signer_node.kernel.bitcoin.bip32 import HARDENED, master_from_seed
from signer_node.kernel.bitcoin.network import Network
from signer_node.kernel.bitcoin.psbt import NewOutput, SpentCoin, build_psbt, parse_psbt
from signer_node.kernel.bitcoin.transaction import (
    Outpoint,
    Transaction,
    TxIn,
    TxOut,
    parse_transaction,
    write_unsigned,
)
from signer_node.kernel.vault.interface import (
    CHAINS,
    SessionInput,
    SignerCommitments,
    VaultKind,
)
from signer_node.kernel.vault.registry import open_vault
from signer_node.kernel.vault.signer_registry import open_signer
from signer_node.kernel.vault.wsh_sortedmulti import open_wsh_sortedmulti
from signer_node.kernel.vault.wsh_sortedmulti_signer import NoNonces
from tests.bench.measure import Direction, Measurement, best_of
from tests.kernel.bitcoin_samples import SEEDS, SEQUENCE, outpoint, p2wpkh, vault_description

INPUTS = 10
PAYMENTS = 199
"""The output that makes 200 is the change."""
COIN_SAT = 1_000_000
PAYMENT_SAT = 40_000
FEE_SAT = 20_000
CHANGE_SAT = INPUTS * COIN_SAT - PAYMENTS * PAYMENT_SAT - FEE_SAT
CHANGE_INDEX = 0
SIGNERS = ("s1", "s3")
ROUNDS = 15
DESCRIPTION = vault_description()
COINS = tuple(SessionInput(0, index, COIN_SAT) for index in range(INPUTS))
PAYOUTS = tuple(TxOut(PAYMENT_SAT, p2wpkh(number)) for number in range(PAYMENTS))
_ACCOUNT = tuple(step + HARDENED for step in (48, 1, 0, 2))
_SIGN_OPTIONS = bdk.SignOptions(
    trust_witness_utxo=True,
    assume_height=None,
    allow_all_sighashes=False,
    try_finalize=False,
    sign_with_tap_internal_key=False,
    allow_grinding=False,
)


def run(rounds: int = ROUNDS) -> list[Measurement]:
    """Time the three sides in turn; two rows, one for each baseline."""
    funding = fund()
    theirs_bdk = iter([BdkQuorum(funding) for _ in range(rounds)])
    theirs_embit = EmbitQuorum(funding)
    times = best_of(
        {
            "ours": lambda: sign_ours(funding),
            "embit": theirs_embit.sign,
            "bdk": lambda: next(theirs_bdk).sign(),
        },
        rounds,
    )
    notes = {
        "embit": "embit's signatures verified by its own PublicKey.verify; it grinds low R",
        "bdk": "bdk's wallets are opened before the clock starts; Psbt.finalize verifies",
    }
    return [
        Measurement(
            f"multisig work of a batch of {INPUTS} inputs and {PAYMENTS + 1} outputs ({side})",
            times["ours"] * 1e3,
            "ms",
            side,
            times[side] * 1e3,
            1.0,
            Direction.LOWER,
            f"{note}; ours opens the vault anew three times within the clock",
        )
        for side, note in notes.items()
    ]


def fund() -> Transaction:
    """A transaction whose outputs are the coins, in order."""
    vault = open_vault(DESCRIPTION)
    outputs = [TxOut(coin.value_sat, vault.script(coin.chain, coin.index)) for coin in COINS]
    return parse_transaction(write_unsigned([TxIn(outpoint(0), b"", SEQUENCE)], outputs, 0, 2))


# --- ours ---


def sign_ours(funding: Transaction) -> bytes:
    """Build, sign by two, aggregate and verify; each party with a vault of its own."""
    vault = _opened_anew()
    psbt = build_psbt(_our_inputs(vault, funding), _our_outputs(vault), 0)
    members = [SignerCommitments(node) for node in SIGNERS]
    session = vault.open_session(psbt, COINS, members)
    shares = {node: _our_shares(node, psbt.raw, members) for node in SIGNERS}
    return vault.aggregate(session, shares).raw


def _opened_anew() -> VaultKind:
    open_wsh_sortedmulti.cache_clear()
    return open_vault(DESCRIPTION)


def _our_inputs(vault: VaultKind, funding: Transaction) -> list[SpentCoin]:
    return [
        SpentCoin(
            Outpoint(funding.txid, at),
            SEQUENCE,
            vault.psbt_input_fields(coin.chain, coin.index, funding.outputs[at]),
        )
        for at, coin in enumerate(COINS)
    ]


def _our_outputs(vault: VaultKind) -> list[NewOutput]:
    change = TxOut(CHANGE_SAT, vault.script(1, CHANGE_INDEX))
    return [
        *map(NewOutput, PAYOUTS),
        NewOutput(change, vault.psbt_output_fields(1, CHANGE_INDEX)),
    ]


def _our_shares(node: str, raw: bytes, members: Sequence[SignerCommitments]) -> tuple[bytes, ...]:
    session = _opened_anew().open_session(parse_psbt(raw), COINS, members)
    return open_signer(DESCRIPTION, node).sign(SEEDS[node], session, NoNonces())


# --- embit ---


class EmbitQuorum:
    """The same work with embit, its descriptor and keys parsed already."""

    def __init__(self, funding: Transaction) -> None:
        plain = open_vault(DESCRIPTION).descriptor.split("#")[0]
        self._descriptor = embit.descriptor.Descriptor.from_string(plain)
        self._roots = [embit.bip32.HDKey.from_seed(SEEDS[node]) for node in SIGNERS]
        self._funding = embit.transaction.Transaction.parse(funding.raw)

    def sign(self) -> bytes:
        """Build, sign by two, combine, verify, finalise."""
        psbt = self._build()
        raw = psbt.serialize()
        for root in self._roots:
            signer = embit.psbt.PSBT.parse(raw)
            if signer.sign_with(root) != INPUTS:
                raise RuntimeError("embit did not sign each input")
            for mine, theirs in zip(psbt.inputs, signer.inputs, strict=True):
                mine.partial_sigs.update(theirs.partial_sigs)
        self._verify(psbt)
        signed: bytes = embit.finalizer.finalize_psbt(psbt).serialize()
        return signed

    def _build(self) -> embit.psbt.PSBT:
        txid = self._funding.txid()
        vin = [embit.transaction.TransactionInput(txid, at, None, SEQUENCE) for at in range(INPUTS)]
        payments = [(one.value_sat, embit.script.Script(one.script)) for one in PAYOUTS]
        change = self._descriptor.derive(CHANGE_INDEX, branch_index=1)
        vout = [
            embit.transaction.TransactionOutput(value, script)
            for value, script in [*payments, (CHANGE_SAT, change.script_pubkey())]
        ]
        psbt = embit.psbt.PSBT(embit.transaction.Transaction(2, vin, vout, 0))
        for at, coin in enumerate(COINS):
            derived = self._descriptor.derive(coin.index, branch_index=coin.chain)
            psbt.inputs[at].witness_utxo = self._funding.vout[at]
            psbt.inputs[at].sighash_type = embit.transaction.SIGHASH.ALL
            _describe(psbt.inputs[at], derived)
        _describe(psbt.outputs[-1], change)
        return psbt

    def _verify(self, psbt: embit.psbt.PSBT) -> None:
        for at, fields in enumerate(psbt.inputs):
            digest = psbt.sighash(at)
            for key, signature in fields.partial_sigs.items():
                if not key.verify(embit.ec.Signature.parse(signature[:-1]), digest):
                    raise RuntimeError("embit made a signature that it refuses")


def _describe(fields: embit.psbt.PSBTScope, derived: embit.descriptor.Descriptor) -> None:
    fields.witness_script = derived.witness_script()
    for key in derived.keys:
        path = embit.psbt.DerivationPath(key.origin.fingerprint, key.origin.derivation)
        fields.bip32_derivations[embit.ec.PublicKey.parse(key.sec())] = path


# --- bdk ---


@dataclass(frozen=True, slots=True)
class _BdkParts:
    """What the transaction builder of bdk takes."""

    coins: list[bdk.OutPoint]
    payments: list[bdk.ScriptAmount]


class BdkQuorum:
    """The same work with bdk, for once: its wallets know the coins already."""

    def __init__(self, funding: Transaction) -> None:
        descriptor = open_vault(DESCRIPTION).descriptor.split("#")[0]
        self._builder = _bdk_wallet(descriptor)
        self._signers = [_bdk_wallet(_with_secret(descriptor, node)) for node in SIGNERS]
        known = bdk.Transaction(funding.raw)
        self._builder.apply_unconfirmed_txs([bdk.UnconfirmedTx(tx=known, last_seen=1)])
        txid = known.compute_txid()
        self._parts = _BdkParts(
            [bdk.OutPoint(txid=txid, vout=at) for at in range(INPUTS)],
            [
                bdk.ScriptAmount(
                    script=bdk.Script(one.script), amount=bdk.Amount.from_sat(one.value_sat)
                )
                for one in PAYOUTS
            ],
        )

    def sign(self) -> bytes:
        """Build, sign by two, combine; finalising verifies."""
        psbt = self._build()
        raw = psbt.serialize()
        for wallet in self._signers:
            signer = bdk.Psbt(raw)
            wallet.sign(signer, _SIGN_OPTIONS)
            psbt = psbt.combine(signer)
        result = psbt.finalize()
        if not result.could_finalize:
            raise RuntimeError(f"bdk could not finalise: {result.errors}")
        signed: bytes = result.psbt.extract_tx().serialize()
        return signed

    def _build(self) -> bdk.Psbt:
        builder = bdk.TxBuilder().set_recipients(self._parts.payments)
        builder = builder.add_utxos(self._parts.coins).manually_selected_only()
        builder = builder.fee_absolute(bdk.Amount.from_sat(FEE_SAT)).only_witness_utxo()
        builder = builder.ordering(bdk.TxOrdering.UNTOUCHED).set_exact_sequence(SEQUENCE)
        return builder.finish(self._builder)


def _bdk_wallet(descriptor: str) -> bdk.Wallet:
    """bdk reads no secret key with two paths, so each chain has a descriptor of its own."""
    chains = [
        bdk.Descriptor(descriptor.replace("<0;1>", str(chain)), bdk.NetworkKind.TEST)
        for chain in CHAINS
    ]
    return bdk.Wallet(*chains, bdk.Network.REGTEST, bdk.Persister.new_in_memory())


def _with_secret(descriptor: str, node: str) -> str:
    """The descriptor with a node's account key in place of its xpub."""
    xpub = next(one.xpub for one in DESCRIPTION.cosigners if one.node == node)
    account = master_from_seed(SEEDS[node], Network.REGTEST).branch(_ACCOUNT)
    return descriptor.replace(xpub, account.xprv())


def signed_by_all() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Each side's work by name, for the test that they make the same payments."""
    funding = fund()
    yield "ours", lambda: sign_ours(funding)
    yield "embit", EmbitQuorum(funding).sign
    yield "bdk", BdkQuorum(funding).sign
