# SPDX-License-Identifier: BSD-2-Clause
"""The client and the gateware, with faults between them: no wrong answer, every write executed once."""

from __future__ import annotations

import numpy as np
import pytest

from spatten_drivers.link import FaultRates, FaultyTransport, LinkClient
from tests.drivers.link.exercise import MEMORY_BYTES, Exercise

from .board import BoardTransport


def exercised(
    beat: int, rates: FaultRates, seed: int, transfers: int, pace: float = 1.0, after: int = 1
) -> LinkClient:
    """Random transfers; bus and memory hold what they must after them."""
    board = BoardTransport(beat, seed, pace, after)
    client = LinkClient(FaultyTransport(board, rates, seed))
    exercise = Exercise(client, seed, beat, largest=(40, 2))
    client.write(0, exercise.ram)
    client.write_block(0, exercise.memory)
    exercise.run(transfers)
    assert exercise.transfers == transfers
    assert board.journal == exercise.journal
    assert board.bench.get("reads") == exercise.reads
    clean = LinkClient(board, take_over=True)
    np.testing.assert_array_equal(clean.read_block(0, MEMORY_BYTES), exercise.memory)
    np.testing.assert_array_equal(clean.read(0, 1024), exercise.ram)
    return client


def test_without_faults() -> None:
    client = exercised(16, FaultRates(), 1, 150)
    assert client.packets_repeated == 0
    assert not client.packets_ignored
