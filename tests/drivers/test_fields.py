# SPDX-License-Identifier: BSD-2-Clause
"""Bit fields of words: packing, unpacking, and which bits nobody owns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatten_drivers.errors import OperandError
from spatten_drivers.fields import Field, Table, Word, pack, packed, reserved_bits, unpack, whole

WORDS = (
    Word("mixed", 2, (Field("low", 0, 3, "Three bits."), Field("high", 8, 17, "Seventeen.", reset=5))),
    whole("all", 0, "A whole word.", reset=0xDEADBEEF),
)


def test_resets_and_places() -> None:
    assert pack(WORDS, {}, 4).tolist() == [0xDEADBEEF, 0, 5 << 8, 0]
    assert [word.reset for word in WORDS] == [5 << 8, 0xDEADBEEF]


@given(low=st.integers(0, 7), high=st.integers(0, (1 << 17) - 1), whole_word=st.integers(0, (1 << 32) - 1))
def test_round_trip(low: int, high: int, whole_word: int) -> None:
    values = {"low": low, "high": high, "all": whole_word}
    words = pack(WORDS, values, 3)
    assert words[2] == low + 256 * high
    assert unpack(WORDS, words) == values


@pytest.mark.parametrize("value", [-1, 8])
def test_a_value_too_wide(value: int) -> None:
    with pytest.raises(OperandError) as error:
        pack(WORDS, {"low": value}, 3)
    assert str(error.value) == f"low is {value}; expected 0 to 7 (3 bits): Three bits."


@given(low=st.integers(0, 7), high=st.integers(0, (1 << 17) - 1), again=st.integers(0, 7))
def test_fields_set_anew(low: int, high: int, again: int) -> None:
    table, values = Table(WORDS), {"low": low, "high": high}
    before = packed(table, values, 3)
    assert table.patched(before, {"low": again}) == packed(table, values | {"low": again}, 3)
    assert before == packed(table, values, 3)


@pytest.mark.parametrize("value", [-1, 8])
def test_a_value_too_wide_set_anew(value: int) -> None:
    table = Table(WORDS)
    with pytest.raises(OperandError) as error:
        table.patched(packed(table, {}, 3), {"low": value})
    assert str(error.value) == f"low is {value}; expected 0 to 7 (3 bits): Three bits."


def test_reserved_bits() -> None:
    masks = reserved_bits(WORDS, 4)
    assert masks.dtype == np.uint32
    assert masks.tolist() == [0, 0xFFFFFFFF, 0xFFFFFFFF - 0x7 - (0x1FFFF << 8), 0xFFFFFFFF]
