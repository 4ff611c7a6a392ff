"""Prints docs/parity.md: `python -m tests.parity > docs/parity.md`."""

from __future__ import annotations

import importlib
from collections import OrderedDict

from tests.parity.hostile import outcomes
from tests.parity.rows import GOLDEN, Row
from tests.test_parity import MODULES

HEADER = """# Parity

Printed by `python -m tests.parity > docs/parity.md`; `tests/test_parity.py` asserts every row. Fixtures were made by running the peers'
own code on a CPU (`tests/golden`); a row is the largest difference over all values of all cases of a fixture, in fp32 eager.

| fixture | peer | cases | values | largest error | tolerance | share of it used |
|---|---|---|---|---|---|---|"""

HOSTILE = """
## Hostile files

Every file of `tests/golden/adversarial`, what its manifest expects and what became of it here. No marker file appears: nothing is executed.

| file | expected | outcome |
|---|---|---|"""


def main() -> None:
    """Runs every comparison and prints the page."""
    print(HEADER)
    groups: OrderedDict[tuple[str, str, str], list[Row]] = OrderedDict()
    for module in MODULES:
        for row in importlib.import_module(f"tests.parity.{module}").rows():
            groups.setdefault((row.fixture.split(" ")[0], row.peer, row.tolerance), []).append(row)
    for (fixture, peer, tolerance), rows in groups.items():
        error, ratio = max(row.largest_error for row in rows), max(row.ratio for row in rows)
        values = sum(row.values for row in rows)
        print(f"| {fixture} | {peer} | {len(rows)} | {values} | {error:.1e} | {tolerance} | {100 * ratio:.1f} % |")
    print(HOSTILE)
    for each in outcomes():
        words = each.reason.replace(str(GOLDEN / "adversarial") + "/", "").replace("|", "/")
        print(f"| {each.file} | {each.expected} | {each.outcome}{': ' if words else ''}{words[:160]} |")


if __name__ == "__main__":
    main()
