# SPDX-License-Identifier: BSD-2-Clause
"""Device memory: no overlap, nothing lost, neighbours merged."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatten_drivers.allocator import Allocator
from spatten_drivers.errors import DeviceMemoryError


@given(st.lists(st.integers(0, 900) | st.none(), max_size=60), st.randoms(use_true_random=False))
def test_random_take_and_give(steps: list[int | None], random: Random) -> None:
    """A size takes, ``None`` gives back one of the regions."""
    allocator, taken = Allocator(4096, 64), {}
    for size in steps:
        if size is None and taken:
            start = random.choice(sorted(taken))
            allocator.give(start)
            del taken[start]
        elif size is not None:
            try:
                start = allocator.take(size)
            except DeviceMemoryError:
                assert taken
                continue
            length = max(64, -(-size // 64) * 64)
            assert start % 64 == 0
            assert start + length <= 4096
            assert all(start + length <= other or other + room <= start for other, room in taken.items())
            taken[start] = length
        assert allocator.bytes_taken == sum(taken.values())
    for start in list(taken):
        allocator.give(start)
    assert allocator.take(4096) == 0


def test_neighbours_merge_in_any_order() -> None:
    allocator = Allocator(192, 64)
    first, second, third = (allocator.take(64) for _ in range(3))
    for start in (first, third, second):
        allocator.give(start)
    assert allocator.take(192) == 0


def test_first_fit() -> None:
    allocator = Allocator(256, 64)
    starts = [allocator.take(64) for _ in range(4)]
    allocator.give(starts[1])
    allocator.give(starts[3])
    assert allocator.take(1) == starts[1]


def test_exhausted() -> None:
    allocator = Allocator(8192, 64)
    allocator.take(5000)
    with pytest.raises(DeviceMemoryError) as error:
        allocator.take(4000)
    assert str(error.value) == (
        "no room for 4,000 bytes: 5,056 of 8,192 are taken. Free sequences that are done, shorten the input "
        "or use fewer beams"
    )
    assert isinstance(error.value, MemoryError)


def test_given_twice() -> None:
    allocator = Allocator(256, 64)
    start = allocator.take(10)
    allocator.give(start)
    with pytest.raises(
        DeviceMemoryError, match=r"^address 0x0 was not taken from this memory; free each buffer once$"
    ):
        allocator.give(start)


def test_memory_that_does_not_start_at_0() -> None:
    allocator = Allocator(192, 64, start=1024)
    assert [allocator.take(64) for _ in range(3)] == [1024, 1088, 1152]
    with pytest.raises(DeviceMemoryError, match="192 of 192 are taken"):
        allocator.take(1)
    allocator.give(1088)
    assert allocator.take(1) == 1088
