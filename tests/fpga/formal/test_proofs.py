# SPDX-License-Identifier: BSD-2-Clause
"""The quick proofs, and that each of their rules can fail; `make core-formal` runs all of them."""

from __future__ import annotations

import pytest

from spatten_fpga.formal.sby import BMC, prove

from .catalogue import CASES

QUICK = {name: case for name, case in CASES.items() if case.quick}
#: A wrong of every kind on some stream of each proof; the long run tries all of them.
WRONGS = [(name, list(case.sabotages())[number % 4]) for number, (name, case) in enumerate(QUICK.items())]


@pytest.mark.parametrize("name", QUICK)
def test_holds(name: str) -> None:
    case = QUICK[name]
    # Not within the assertion: Migen names signals after what callers assign to, pytest's names have an @.
    found = prove(f"test {name}", case.build(None), case.engine, case.depth)
    assert found.status == "PASS"


@pytest.mark.parametrize(("name", "wrong"), WRONGS)
def test_can_fail(name: str, wrong: str) -> None:
    case = QUICK[name]
    found = prove(f"test {name} {wrong}", case.build(wrong), BMC, case.wrong_depth)
    assert found.status == "FAIL"
