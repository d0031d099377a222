# SPDX-License-Identifier: BSD-2-Clause
"""The client and the gateware, with faults between them: no wrong answer, every write executed once."""

from __future__ import annotations

import numpy as np
import pytest

from spatten_drivers.link import FaultRates, FaultyTransport, LinkClient
from tests.drivers.link.exercise import Exercise

from .board import BoardTransport


def exercised(
    beat: int, rates: FaultRates, seed: int, transfers: int, pace: float = 1.0, after: int = 1200
) -> LinkClient:
    """Random transfers; bus and memory hold what they must after them."""
    board = BoardTransport(beat, seed, pace, after)
    client = LinkClient(FaultyTransport(board, rates, seed))
    exercise = Exercise(client, seed, beat, largest=(40, 2))
    client.write(0, np.zeros(1024, np.uint32))
    exercise.run(transfers)
    assert exercise.transfers == transfers
    assert board.journal == exercise.journal
    assert board.bench.get("reads") == exercise.reads
    np.testing.assert_array_equal(board.memory, exercise.memory)
    np.testing.assert_array_equal(LinkClient(board, take_over=True).read(0, 1024), exercise.ram)
    return client


def test_without_faults() -> None:
    client = exercised(16, FaultRates(), 1, 150)
    assert client.packets_repeated == 0
    assert not client.packets_ignored
