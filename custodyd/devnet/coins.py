"""The unspent outputs of the active chain, kept from the kernel's connect and disconnect events.

The kernel shows no look-up of unspent outputs. This view applies each connected block, remembers
what the block spent, and takes the block back when the kernel disconnects it. It holds exactly
what Bitcoin Core's coins database would: no unspendable outputs, not the genesis coinbase.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from custodyd.devnet.blocks import Block
from custodyd.devnet.script import is_unspendable
from custodyd.devnet.transactions import Outpoint, TxOutput


@dataclass(frozen=True, slots=True)
class Coin:
    """An unspent output, the height of its block, and whether a coinbase made it."""

    output: TxOutput
    height: int
    is_coinbase: bool


class CoinView:
    """Unspent outputs by outpoint and by script."""

    def __init__(self) -> None:
        self._coins: dict[Outpoint, Coin] = {}
        self._by_script: dict[bytes, set[Outpoint]] = {}
        self._spent_by_block: dict[bytes, list[tuple[Outpoint, Coin]]] = {}

    def get(self, outpoint: Outpoint) -> Coin | None:
        return self._coins.get(outpoint)

    def __len__(self) -> int:
        return len(self._coins)

    def of_script(self, script: bytes) -> Iterator[tuple[Outpoint, Coin]]:
        """The unspent outputs that pay to exactly this script."""
        for outpoint in self._by_script.get(script, ()):
            yield outpoint, self._coins[outpoint]

    def connect(self, block: Block, height: int) -> None:
        """Apply a block that the kernel has connected on top of what this view shows."""
        spent: list[tuple[Outpoint, Coin]] = []
        for transaction in block.transactions:
            if not transaction.is_coinbase:
                spent += [(i.outpoint, self._remove(i.outpoint)) for i in transaction.inputs]
            for vout, output in enumerate(transaction.outputs):
                if not is_unspendable(output.script):
                    coin = Coin(output, height, transaction.is_coinbase)
                    self._add((transaction.txid, vout), coin)
        self._spent_by_block[block.hash] = spent

    def disconnect(self, block: Block) -> None:
        """Take back the block that was connected last."""
        for transaction in reversed(block.transactions):
            for vout, output in enumerate(transaction.outputs):
                # An output spent in the same block is back only after its spender is undone.
                if not is_unspendable(output.script) and (transaction.txid, vout) in self._coins:
                    self._remove((transaction.txid, vout))
        created = {transaction.txid for transaction in block.transactions}
        for outpoint, coin in self._spent_by_block.pop(block.hash):
            if outpoint[0] not in created:
                self._add(outpoint, coin)

    def _add(self, outpoint: Outpoint, coin: Coin) -> None:
        self._coins[outpoint] = coin
        self._by_script.setdefault(coin.output.script, set()).add(outpoint)

    def _remove(self, outpoint: Outpoint) -> Coin:
        coin = self._coins.pop(outpoint)
        same_script = self._by_script[coin.output.script]
        same_script.discard(outpoint)
        if not same_script:
            del self._by_script[coin.output.script]
        return coin
