# SPDX-License-Identifier: BSD-2-Clause
"""What is recorded of memory: all that changed, and nothing twice."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from spatten_drivers.recording.footprint import merged
from spatten_drivers.recording.mirror import Mirror

SIZE = 96
Write = tuple[int, np.ndarray]
WRITES = st.lists(
    st.tuples(st.integers(0, SIZE - 1), stn.arrays("u1", st.integers(1, SIZE), elements=st.integers(0, 2))),
    max_size=8,
)
RUNS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=8)


@given(WRITES, WRITES)
@settings(max_examples=100)
def test_pieces_rebuild_memory(first: list[Write], second: list[Write]) -> None:
    """A memory that takes only the news holds the same bytes wherever something was written."""
    mirror, real, rebuilt = Mirror(SIZE), np.full(SIZE, 9, "u1"), np.full(SIZE, 9, "u1")
    for writes in (first, second):
        news = [np.empty((0, 2), np.int64)]
        for address, data in writes:
            cut = data[: SIZE - address]
            real[address : address + cut.size] = cut
            news.append(mirror.learn(address, cut))
        for address, piece in mirror.pieces(np.concatenate(news)):
            rebuilt[address : address + piece.size] = piece
        np.testing.assert_array_equal(rebuilt, real)


def test_what_is_known_is_no_news() -> None:
    mirror, data = Mirror(SIZE), np.zeros(64, "u1")
    assert mirror.learn(8, data).tolist() == [[8, 72]]  # zeros too: memory may hold anything at first
    assert mirror.learn(8, data).tolist() == []
    data[[3, 40]] = 1
    assert mirror.learn(8, data).tolist() == [[8, 12], [48, 52]]  # whole words
    data[[3, 10]] = 2
    assert mirror.learn(8, data).tolist() == [[8, 20]]  # one run costs less than two
    mirror.forget(70, 10)
    assert mirror.learn(8, data).tolist() == [[68, 72]]
    assert mirror.learn(9, data[2:4]).tolist() == [[9, 11]]  # nothing but what was written


def test_holes_are_unknown() -> None:
    mirror = Mirror(SIZE)
    mirror.learn(10, np.ones(10, "u1"))
    mirror.learn(24, np.ones(4, "u1"))
    assert mirror.unknown(np.array([[12, 18]])).tolist() == []
    assert mirror.unknown(np.array([[8, 30], [40, 41]])).tolist() == [[8, 10], [20, 24], [28, 30], [40, 41]]


@given(RUNS, st.integers(0, 3))
@settings(max_examples=100)
def test_merged_runs_hold_the_same_bytes(pairs: list[tuple[int, int]], gap: int) -> None:
    runs = np.array([(a, a + n) for a, n in pairs], np.int64).reshape(-1, 2)
    found = merged(runs, gap)
    held = {byte for start, end in runs.tolist() for byte in range(start, end)}
    covered = {byte for start, end in found.tolist() for byte in range(start, end)}
    assert held <= covered
    assert gap or held == covered
    assert (found[1:, 0] > found[:-1, 1] + gap).all()
