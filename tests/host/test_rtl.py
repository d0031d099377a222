# SPDX-License-Identifier: BSD-2-Clause
"""BERT and GPT-2 whole on the simulated system: every answer and byte count as the emulator gives it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spatten_drivers.devices.verilator import Verilator
from tests.host.rtl import CASES, Case, compared, simulated

pytestmark = pytest.mark.deep
LAYERS = 6


@pytest.fixture(scope="module")
def soc() -> Iterator[Verilator]:
    with simulated() as device:
        yield device


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_job_is_the_emulators(soc: Verilator, case: Case) -> None:
    """A prompt and 16 generated tokens that are read, or a sentence; each is six jobs."""
    found = compared(case, soc)
    assert found.jobs == LAYERS * max(1, case.new_tokens)
    assert found.differing == []
    assert found.same_output
    assert 0 < found.job_cycles < found.cycles
