"""`make bench`: every measurement, a table on the terminal, build/bench.json."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from tests.bench import chilldkg, frost, intake, manifest_check, multisig, throughput
from tests.bench.measure import Measurement

OUTPUT = Path("build/bench.json")
ALL: dict[str, Callable[[], list[Measurement]]] = {
    "manifest": manifest_check.run,
    "multisig": multisig.run,
    "frost": frost.run,
    "chilldkg": chilldkg.run,
    "intake": intake.run,
    "throughput": throughput.run,
}


def main() -> None:
    """Run the measurements named, or all; write and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", choices=[[], *ALL], help="measurements to run")
    names = parser.parse_args().only or list(ALL)
    rows = [one for name in names for one in ALL[name]()]
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps([one.as_row() for one in rows], indent=2) + "\n")
    for one in rows:
        print(_line(one))
    print(f"written to {OUTPUT}")


def _line(one: Measurement) -> str:
    beside = ""
    if one.ratio is not None and one.baseline_value is not None:
        beside = f" | {one.baseline}: {one.baseline_value:.3f} | ratio {one.ratio:.2f}"
    goal = "" if one.goal is None else f" | goal {one.goal} {'met' if one.met else 'NOT MET'}"
    return f"{one.name}: {one.value:.3f} {one.unit}{beside}{goal}" + (
        f" | {one.note}" if one.note else ""
    )


if __name__ == "__main__":
    main()
