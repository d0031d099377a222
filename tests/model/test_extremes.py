# SPDX-License-Identifier: BSD-2-Clause
"""No sum overflows: the widths of section 12 of docs/contract.md, reached by the oracle and by the model."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from .extremes import EXTREMES, LEAST, LEAST_QUERY, Device, Extreme, every, mixed_signs
from .oracle_row import Row, reciprocal, round_shift
from .softmax_rows import DISTANCE_MAX, row_of_sum
from .widths import (
    DIM,
    HEAD_MAX,
    HEADS,
    LAYERS,
    LOUDEST,
    MANTISSA,
    QUERIES,
    TOKEN_LAYER,
    TOKEN_MAX,
    V_MOST,
    WIDTHS,
    width_table,
)

PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()
KERNELS = ("numpy", "numba")
EXACT = 1 << 53  # integers up to here are exact in float64
#: Widths that a row shows; the others are of running importance, which test_layers and its neighbour reach.
SEEN = [key for key in WIDTHS if key not in ("decayed", "token", "tokens", "head")]


@cache
def row_of(name: str) -> Row:
    """The oracle's row of a named extreme."""
    return EXTREMES[name].row()


def assert_as_the_oracle(device: Device, row: Row) -> None:
    """Every row's outputs and every running importance after a job that began with none."""
    extreme = device.extreme
    rows = extreme.heads * extreme.queries
    assert (device.outputs == np.array(row.output)).all()
    assert device.tokens.tolist() == [min(TOKEN_MAX, round_shift(rows * gain, 24)) for gain in row.gains]
    magnitude = extreme.queries * sum(abs(o) for o in row.output)
    head = min(HEAD_MAX, round_shift(magnitude * extreme.importance_mult, extreme.importance_shift))
    assert device.heads.tolist() == [head] * extreme.heads


# -- the model at the extremes -------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", EXTREMES)
def test_model(name: str, kernel: str) -> None:
    """1,024 keys, 1,024 queries, 16 heads of dimension 128."""
    device = Device(EXTREMES[name], kernel)
    device.run()
    assert_as_the_oracle(device, row_of(name))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dim", [32, 64, 96])
def test_head_dimensions(dim: int, kernel: str) -> None:
    """The other head dimensions, with few queries to be quick."""
    extreme = replace(mixed_signs(dim), queries=16)
    device = Device(extreme, kernel)
    device.run()
    assert_as_the_oracle(device, extreme.row())


@pytest.mark.parametrize("kernel", KERNELS)
def test_layers(kernel: str) -> None:
    """One token gets all attention of 16 heads and 1,024 queries: exact for 48 layers, saturated after 64."""
    device = Device(Extreme(LEAST_QUERY[:32], every(LEAST, 1, 32), every(LEAST, 1, 32)), kernel)
    found = []
    for _ in range(66):
        device.run()
        found.append(int(device.tokens[0]))
    assert found == [min(TOKEN_MAX, layer * TOKEN_LAYER) for layer in range(1, 67)]
    assert found[LAYERS - 1] == WIDTHS["tokens"].most < TOKEN_MAX
    assert found[63:] == [TOKEN_MAX] * 3


@pytest.mark.parametrize("kernel", KERNELS)
def test_head_importance_saturates(kernel: str) -> None:
    """The largest `A_h` times the largest multiplier fits once; the second layer saturates."""
    extreme = Extreme(LEAST_QUERY, every(LEAST, 1), every(LEAST, 1), heads=2)
    device = Device(extreme, kernel)
    found = []
    for _ in range(3):
        device.run()
        found.append(device.heads.tolist())
    assert found == [[WIDTHS["A"].most * 65535] * 2, [HEAD_MAX] * 2, [HEAD_MAX] * 2]


# -- the arithmetic ------------------------------------------------------------------------------------------


def numbers_of(name: str) -> dict[str, list[int]]:
    """What the oracle's row of a named extreme holds, by the keys of the width table."""
    extreme, row = EXTREMES[name], row_of(name)
    rows, half = extreme.heads * extreme.queries, 1 << extreme.score_shift >> 1
    magnitude = extreme.queries * sum(abs(o) for o in row.output)
    mantissas = [round_shift(a, row.z) for a in row.acc]
    return {
        "s": [s for done in row.passes for s in done.scores],
        "d": [d for done in row.passes for d in done.distances],
        "scaled": [d * extreme.score_mult + half for done in row.passes for d in done.distances],
        "S": [done.total for done in row.passes],
        "acc": row.acc,
        "mantissa": mantissas,
        "R": [row.reciprocal],
        "product": [m * row.reciprocal for m in mantissas],
        "o": row.output,
        "w": [row.importance_factor],
        "gain": row.gains,
        "t": [rows * gain for gain in row.gains],
        "A": [magnitude],
        "weighed": [magnitude * extreme.importance_mult + (1 << extreme.importance_shift >> 1)],
    }


@cache
def all_numbers() -> dict[str, list[int]]:
    """Those of all extremes."""
    found = [numbers_of(name) for name in EXTREMES]
    return {key: [number for numbers in found for number in numbers[key]] for key in SEEN}


@pytest.mark.parametrize("key", SEEN)
def test_no_sum_overflows(key: str) -> None:
    """Nothing the oracle makes at the extremes leaves the range of the table, or float64's exact integers."""
    width = WIDTHS[key]
    assert width.least <= min(all_numbers()[key])
    assert max(all_numbers()[key]) <= width.most
    assert -(1 << width.bits - 1) <= width.least if width.least else width.most < 1 << width.bits
    assert width.magnitude < EXACT


@pytest.mark.parametrize("key", [key for key in SEEN if key != "mantissa"])
def test_largest_numbers_are_reached(key: str) -> None:
    """The table is not too wide: some extreme has exactly the magnitude it names."""
    assert max(map(abs, all_numbers()[key])) == WIDTHS[key].magnitude


def test_largest_mantissa() -> None:
    """The largest sum of each `z` times -2^15: that of z = 8 is the largest, and a row has it."""
    ends = [(z, min((1 << 17 + z) - 1, WIDTHS["S"].most)) for z in range(10)]
    assert [reciprocal(total)[0] for _, total in ends] == list(range(10))
    assert max(total * V_MOST >> z for z, total in ends) == MANTISSA
    row = row_of_sum((1 << 25) - 1, lambda keys: [LEAST] * keys).run()
    assert round_shift(row.acc[0], row.z) == -MANTISSA
    assert len(row.gains) <= 1024


def test_random_rows_go_as_far() -> None:
    """The rows of test_softmax_error.py draw distances up to that of the table."""
    assert WIDTHS["d"].most == DISTANCE_MAX


def test_the_loudest_value() -> None:
    """A layer adds at most queries * D * loudest to a head, in units of 2^-12."""
    layers = LAYERS * QUERIES * DIM << 12
    assert layers * LOUDEST <= HEAD_MAX < layers * (LOUDEST + 1)
    assert f"{LOUDEST:,}" in PAGE


def test_the_table_of_the_page() -> None:
    """If this fails: python -m tests.model.widths prints it anew."""
    assert width_table() in PAGE
    assert f"{HEADS} heads x {QUERIES:,} queries x {LAYERS} layers" in PAGE
