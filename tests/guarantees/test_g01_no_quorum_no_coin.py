"""G1: fewer than t shares sign nothing, and nobody ever holds t shares or the whole key.

Here for a threshold key made by real nodes through the real coordinator, with shares in sealed
files on a disk; tests/e2e holds the same for the demo's processes.
"""

from __future__ import annotations

import resource
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import pytest

from custodyd.store import open_store
from custodyd.store.migrate import migrate
from signer_node.adapters.shares import ShareFiles, ShareName, open_share, share_sealing_key
from signer_node.daemon.main import main
from signer_node.kernel.curve import point_from_secret
from signer_node.kernel.documents.vault import FrostKey
from signer_node.kernel.errors import ErrorId, Refusal
from signer_node.kernel.vault.interface import VaultKindId
from tests.stages.house import House, Options
from tests.world.interpolation import interpolate
from tests.world.quorum import RULES, VAULT, World, secret

KIND = VaultKindId.TAPROOT_FROST


@dataclass(frozen=True)
class Made:
    """A quorum on a disk, its vault made; and each node's share, opened by its own root."""

    house: House
    folder: Path
    frost: FrostKey
    shares: dict[str, bytes]

    def root(self, name: str) -> bytes:
        return secret(f"{name} vault root")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("quorum")
    (folder / "coordinator").mkdir()
    store = open_store(f"sqlite:///{folder / 'coordinator' / 'store.sqlite3'}")
    migrate(store)
    house = House(store, Options(kind=KIND))
    for name, sim in house.world.nodes.items():
        key = share_sealing_key(secret(f"{name} vault root"))
        sim.secrets._shares = ShareFiles(folder / name / "shares", key)
    house.make_vault()
    for name, sim in house.world.nodes.items():
        (folder / name / "journal").write_bytes(sim.disk())
    frost = house.world.vault.certificate.document.frost
    assert frost is not None
    place = ShareName(VAULT, 0, frost.recovery)
    shares = {name: sim.secrets._shares.secshare(place) for name, sim in house.world.nodes.items()}
    return Made(house, folder, frost, shares)


def subsets(names: Iterable[str], size: int) -> list[tuple[str, ...]]:
    return list(combinations(names, size))


def key_of(shares: dict[str, bytes], roster: list[str], names: tuple[str, ...]) -> bytes:
    """What these shares interpolate to, as a public key."""
    return point_from_secret(interpolate({roster.index(one) + 1: shares[one] for one in names}))


def test_every_t_shares_interpolate_to_the_vaults_key_and_no_fewer_do(made: Made) -> None:
    roster = list(made.shares)
    for names in subsets(roster, 2):
        assert key_of(made.shares, roster, names) == made.frost.threshold_key
    for names in subsets(roster, 1):
        assert key_of(made.shares, roster, names) != made.frost.threshold_key


def test_so_it_is_with_three_of_five() -> None:
    world = World(3, 5, 2, replace(RULES, approvals_required=3), KIND)
    frost = world.vault.certificate.document.frost
    assert frost is not None
    place = ShareName(VAULT, 0, frost.recovery)
    shares = {name: sim.shares.secshare(place) for name, sim in world.nodes.items()}
    roster = list(shares)
    for size in (3, 4, 5):
        for names in subsets(roster, size):
            assert key_of(shares, roster, names) == frost.threshold_key
    for size in (1, 2):
        for names in subsets(roster, size):
            assert key_of(shares, roster, names) != frost.threshold_key


def test_each_public_share_is_that_of_its_node(made: Made) -> None:
    said = {one.node: one.pubshare for one in made.frost.pubshares}
    assert {name: point_from_secret(one) for name, one in made.shares.items()} == said


def test_nobody_holds_a_share_in_clear_nor_the_key(made: Made) -> None:
    roster = list(made.shares)
    key = interpolate({1: made.shares[roster[0]], 2: made.shares[roster[1]]})
    secrets = {**made.shares, "the key": key}
    searched = 0
    for path in made.folder.rglob("*"):
        if path.is_file():
            searched += 1
            content = path.read_bytes()
            for name, value in secrets.items():
                for form in (value, value[::-1], value.hex().encode()):
                    assert form not in content, f"{name} in {path}"
    assert searched >= len(roster) * 3 + 1


def test_a_node_opens_its_own_share_and_no_others(made: Made) -> None:
    for holder in made.shares:
        files = list((made.folder / holder / "shares").iterdir())
        assert len([one for one in files if one.suffix == ".share"]) == 1
        for opener in made.shares:
            key = share_sealing_key(made.root(opener))
            for path in files:
                if opener == holder:
                    open_share(key, path.read_bytes(), path.name)
                    continue
                with pytest.raises(Refusal) as caught:
                    open_share(key, path.read_bytes(), path.name)
                assert caught.value.error is ErrorId.KEY_FILE_INVALID


def test_two_runs_give_different_keys_and_shares(made: Made) -> None:
    again = World(kind=KIND)
    frost = again.vault.certificate.document.frost
    assert frost is not None
    assert frost.threshold_key != made.frost.threshold_key
    place = ShareName(VAULT, 0, frost.recovery)
    shares = {sim.shares.secshare(place) for sim in again.nodes.values()}
    assert not shares & set(made.shares.values())


def test_the_coordinator_forgets_what_it_carried(made: Made) -> None:
    """Recovery data holds encrypted shares: a host key and it give a share again."""
    data = made.house.world.nodes["s1"].secrets._shares.recovery_data(
        ShareName(VAULT, 0, made.frost.recovery)
    )
    encrypted = [
        data[at : at + 32] for at in range(len(data) - 64 * 3 - 32 * 3, len(data) - 64 * 3, 32)
    ]
    with made.house.store.reading() as connection:
        stored = [
            bytes(value)
            for table in ("keygen_messages", "keygens", "mailbox_out", "signer_evidence")
            for row in connection.exec_driver_sql(f"SELECT * FROM {table}")
            for value in row
            if isinstance(value, bytes)
        ]
    assert len(stored) > 3
    assert not any(share in value for share in encrypted for value in stored)


def test_no_command_of_the_node_leaves_a_core_dump(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    try:
        main(["version"])
        assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    capsys.readouterr()
