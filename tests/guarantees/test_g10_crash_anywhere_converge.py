"""G10 in the world: crash anywhere, converge; nothing paid twice, nothing accepted lost."""

from __future__ import annotations

from pathlib import Path

from tests.world.whole import Whole

IDS = ("w-1", "w-2", "w-3")


def test_a_day_without_faults(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.deposit(50_000_000)
    whole.withdraw(*IDS)
    whole.run(whole.all_final)
    for one in IDS:
        assert len(whole.payments_to(one)) == 1
    print(sorted(set(whole.seen)))
