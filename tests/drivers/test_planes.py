# SPDX-License-Identifier: BSD-2-Clause
"""Bit planes against the definition: a row is one little-endian number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spatten_drivers.errors import OperandError
from spatten_drivers.planes import MSB_WIDTHS, pack_rows, padded, row_bytes, split_planes, unpack_rows

shapes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from((32, 64, 96, 128)))
beats = st.sampled_from((4, 8, 16, 32, 64))


def big_integer(row: list[int], width: int) -> int:
    """Section 3 of the contract: element ``i`` occupies the bits ``i * width`` and up."""
    return sum((value % (1 << width)) << i * width for i, value in enumerate(row))


@given(data=st.data(), width=st.sampled_from(MSB_WIDTHS), signed=st.booleans(), shape=shapes, beat=beats)
def test_layout_and_round_trip(
    data: st.DataObject, width: int, signed: bool, shape: tuple[int, int, int], beat: int
) -> None:
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
    values = data.draw(arrays(np.int16, shape, elements=st.integers(low, high)))
    rows = pack_rows(values, width, row_bytes(shape[-1], width, beat))
    for row, packed in zip(values.reshape(-1, shape[-1]), rows.reshape(-1, rows.shape[-1]), strict=True):
        assert int.from_bytes(packed.tobytes(), "little") == big_integer(row.tolist(), width)
    unpacked = unpack_rows(rows, width, shape[-1], signed=signed)
    assert unpacked.dtype == np.int16
    np.testing.assert_array_equal(unpacked, values)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_every_integer_type(dtype: type[np.signedinteger]) -> None:
    values = np.arange(-32, 32).astype(dtype)[None]
    np.testing.assert_array_equal(unpack_rows(pack_rows(values, 8, 64), 8, 64, signed=True), values)


def test_padding_is_written_as_zero_and_not_read() -> None:
    rows = pack_rows(np.full((1, 32), -1, np.int16), 6, 64)
    assert (rows[0, :24] == 255).all()
    assert not rows[0, 24:].any()
    rows[0, 24:] = 255
    assert (unpack_rows(rows, 6, 32, signed=True) == -1).all()


@pytest.mark.parametrize("value", [-33, 64])
def test_a_value_that_does_not_fit(value: int) -> None:
    values = np.zeros((1, 32), np.int16)
    values[0, 5] = value
    with pytest.raises(OperandError) as error:
        pack_rows(values, 6, 32)
    span = f"{min(value, 0)}..{max(value, 0)}"
    assert str(error.value) == f"plane values span {span}, which does not fit 6 bits; quantize first"


@given(st.integers(0, 10_000), beats)
def test_padded(size: int, beat: int) -> None:
    assert padded(size, beat) % beat == 0
    assert 0 <= padded(size, beat) - size < beat


@given(value=st.integers(-(1 << 15), (1 << 15) - 1), lsb_bits=st.sampled_from((0, 4)))
def test_split_planes(value: int, lsb_bits: int) -> None:
    msb, lsb = (int(part[0]) for part in split_planes(np.array([value], np.int16), lsb_bits))
    assert (msb << lsb_bits) + lsb == value
    assert 0 <= lsb < 1 << lsb_bits
