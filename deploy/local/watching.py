"""Looking at a local quorum without a command for each look: the exchange's own client library,
and the nodes' consoles.

What people do goes through the commands; only the script's waiting uses this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from custodyd.cli.home import open_home
from custodyd.cli.operations import batch_json
from custodyd.cli.payments import as_json, withdrawal_json
from custodyd.client.connection import Coordinator
from custodyd.client.errors import ClientError
from custodyd.client.ledger import ClientLedger, CreditState
from signer_node.adapters.folder import Folder
from signer_node.console.messages import GenesisRequest, PendingGenesis
from signer_node.console.server import ask
from signer_node.kernel.errors import Refusal

T = TypeVar("T")


class Watcher:
    """Reads by the certificate and the ledger of the exchange's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: Coordinator | None = None

    def close(self) -> None:
        """Let go of the connection."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @property
    def coordinator(self) -> Coordinator:
        """The coordinator, by the exchange's certificate."""
        if self._open is None:
            self._open = open_home(self._folder).coordinator(patient=False)
        return self._open

    def withdrawals(self) -> list[dict[str, Any]]:
        """All withdrawals as the coordinator tells them."""
        return [withdrawal_json(one) for one in self.coordinator.withdrawals()]

    def batches(self) -> list[dict[str, Any]]:
        """All batches as the coordinator tells them."""
        return [batch_json(one) for one in self.coordinator.batches()]

    def deposits(self) -> list[dict[str, Any]]:
        """All deposits as the coordinator tells them."""
        return [as_json(one) for one in self.coordinator.deposits()]

    def available_sat(self, vault: str) -> int:
        """What the coordinator counts as free to spend."""
        return int(self.coordinator.balance(vault).available_sat)

    def credited(self) -> dict[str, int]:
        """What the exchange's own ledger credited: outpoint -> satoshi."""
        return self._from_ledger(
            lambda ledger: {
                str(one.outpoint): one.amount_sat
                for one in ledger.credits()
                if one.state is CreditState.CREDITED
            }
        )

    def verified(self, external_ids: Sequence[str]) -> dict[str, str]:
        """States that the exchange's own ledger gives to its requests."""

        def states(ledger: ClientLedger) -> dict[str, str]:
            found = {one: ledger.request(one) for one in external_ids}
            return {name: own.state.value for name, own in found.items() if own is not None}

        return self._from_ledger(states)

    def _from_ledger(self, read: Callable[[ClientLedger], T]) -> T:
        ledger = open_home(self._folder).ledger()
        try:
            return read(ledger)
        finally:
            ledger.close()


def words_at(folder: Path) -> list[str] | None:
    """The genesis words that a signer node shows at its console; None while none has come."""
    try:
        answer = ask(Folder(folder).socket, GenesisRequest())
    except Refusal:
        return None
    return answer.words.split() if isinstance(answer, PendingGenesis) else None


def or_none(look: Callable[[], T]) -> Callable[[], T | None]:
    """A look that finds nothing while the coordinator does not answer."""

    def looked() -> T | None:
        try:
            return look()
        except ClientError as fault:
            if not fault.retryable:
                raise
            return None

    return looked
