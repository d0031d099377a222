# SPDX-License-Identifier: BSD-2-Clause
"""Rows are quantized, packed and put in place in one pass; numba's bits are NumPy's."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spatten_drivers.model import KERNELS
from spatten_drivers.packing import NO_PLANE, Target, appender, plain
from spatten_drivers.planes import MSB_WIDTHS, row_bytes, unpack_rows
from spatten_drivers.quantize import quantize, symmetric_scale

HEADS, SLOTS, DIM = 5, 9, 32


def target(msb_bits: int, lsb_bits: int) -> Target:
    """Planes that hold something already, and no scales yet."""
    planes = [np.full((HEADS, SLOTS, row_bytes(DIM, width, 16)), 0xA5, np.uint8) for width in (msb_bits, 4)]
    return Target(planes[0], planes[1] if lsb_bits else NO_PLANE, msb_bits, lsb_bits, *numbers())


def numbers() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """No scales yet, and some elements clamped."""
    return np.zeros(HEADS), np.arange(HEADS)


def noise(heads: int, rows: int, dtype: Any = np.float32) -> NDArray[Any]:
    values: NDArray[Any] = np.random.default_rng(0).standard_normal((heads, rows, DIM)).astype(dtype)
    return values


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("k_first", [False, True])
@pytest.mark.parametrize("lsb_bits", [0, 4])
@pytest.mark.parametrize("msb_bits", MSB_WIDTHS)
def test_rows_are_where_they_belong(kernel: str, k_first: bool, msb_bits: int, lsb_bits: int) -> None:
    heads, slots = np.array([0, 2, 4]), np.array([1, 2, 7])
    there, other = target(msb_bits, lsb_bits), target(8, 0)
    values = noise(3, 3)
    scale = there.scale[heads] = symmetric_scale(values, msb_bits + lsb_bits) * [1.0, 0.5, 1.0]
    other.scale[heads] = symmetric_scale(values, 8)
    pair = (there, other) if k_first else (other, there)
    assert not appender(kernel)(values, values, heads, slots, *pair, False)  # the second head is louder
    assert (there.msb == 0xA5).all()
    assert (other.msb == 0xA5).all()
    assert appender(kernel)(values, values, heads, slots, *pair, True)
    integers, clamped = quantize(values, scale, msb_bits + lsb_bits)
    found = unpack_rows(there.msb, msb_bits, DIM, signed=True).astype(int) << lsb_bits
    if lsb_bits:
        found += unpack_rows(there.lsb, 4, DIM, signed=False)
    place = np.ix_(heads, slots)
    np.testing.assert_array_equal(found[place], integers)
    assert there.saturated.tolist() == [0, 1, 2 + clamped[1], 3, 4]
    assert other.saturated.tolist() == [0, 1, 2, 3, 4]
    assert clamped[1] > 0
    for plane, width in ((there.msb, msb_bits), (there.lsb, lsb_bits)):
        if width:
            assert not plane[place][..., DIM * width // 8 :].any()
            plane[place] = 0xA5
            assert (plane == 0xA5).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_fits(kernel: str) -> None:
    """To the last bit of the scale."""
    values, heads = noise(3, 2), np.array([0, 2, 3])

    def fits(values: NDArray[Any], scale: NDArray[np.float64]) -> bool:
        """As K and as V, beside rows that fit."""
        answers = set()
        for which in range(2):
            rows, targets = [np.zeros_like(values)] * 2, [target(8, 0), target(8, 0)]
            rows[which] = plain(values)
            for there in targets:
                there.scale[...] = 1.0
            targets[which].scale[heads] = scale
            slots = np.arange(values.shape[1])
            answers.add(appender(kernel)(rows[0], rows[1], heads, slots, *targets, False))
        assert len(answers) == 1
        return answers.pop()

    scale = symmetric_scale(values, 8)
    assert fits(values, scale)
    assert fits(values[:, ::-1], 2 * scale)
    for head in range(3):
        small = scale.copy()
        small[head] = np.nextafter(small[head], 0)
        assert not fits(values, small)
        for odd in (np.nan, np.inf, -np.inf):
            broken = values.copy()
            broken[head, 1, 5] = odd
            assert not fits(broken, scale)
    assert not fits(0 * values, np.zeros(3))  # a scale there must be
    assert fits(0 * values, symmetric_scale(0 * values, 8))


@given(data=st.data(), dtype=st.sampled_from([np.float16, np.float32, np.float64]))
def test_the_same_bits(data: st.DataObject, dtype: Any) -> None:
    """Of halves, which round to even, and of anything else."""
    bits = data.draw(st.sampled_from(MSB_WIDTHS))
    halves = st.integers(-(1 << bits), 1 << bits).map(lambda half: half / 2)
    numbers = halves | st.floats(-100.0, 100.0, width=16)
    values = np.array([[data.draw(st.lists(numbers, min_size=DIM, max_size=DIM))]], dtype)
    scale, stored = data.draw(st.sampled_from([1.0, 0.3, 1.0 / 3.0])), []
    for kernel in KERNELS:
        pair = target(bits, 0), target(8, 0)
        for there in pair:
            there.scale[3] = scale
        rows = plain(values)
        assert appender(kernel)(rows, rows, np.array([3]), np.array([5]), *pair, True)
        stored.append([(there.msb.tobytes(), there.saturated.tolist()) for there in pair])
    assert stored[0] == stored[1]
