# SPDX-License-Identifier: BSD-2-Clause
"""The driver's operators against the oracle's, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatten_drivers.config import AcceleratorConfig
from spatten_drivers.exp2 import SEGMENTS, WEIGHTS
from spatten_drivers.planes import pack_rows, row_bytes, unpack_rows
from spatten_drivers.topk import top_k

from . import oracle_memory, oracle_row
from .generator import MSB_WIDTHS, PAPER
from .jobs import pack_row, signed_range
from .oracle_config import OracleConfig

head_dims = st.sampled_from((32, 64, 96, 128))
beats = st.sampled_from((4, 8, 16, 32, 64))


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[int], int, int, bool]:
    """(elements of a row, width, row bytes, signed): every plane there is."""
    head_dim, beat, signed = draw(head_dims), draw(beats), draw(st.booleans())
    width = draw(st.sampled_from(MSB_WIDTHS)) if signed else 4
    low, high = signed_range(width) if signed else (0, 15)
    elements = draw(st.lists(st.integers(low, high), min_size=head_dim, max_size=head_dim))
    return elements, width, row_bytes(head_dim, width, beat), signed


@given(row=rows())
def test_pack_rows(row: tuple[list[int], int, int, bool]) -> None:
    """Packing gives the same bytes, padding included."""
    elements, width, length, _ = row
    assert pack_rows(np.array([elements]), width, length).tobytes() == pack_row(elements, width, length)


@given(row=rows(), noise=st.binary(min_size=64, max_size=64))
def test_unpack_rows(row: tuple[list[int], int, int, bool], noise: bytes) -> None:
    """Unpacking gives the elements back, whatever the padding holds."""
    elements, width, length, signed = row
    used = len(elements) * width // 8
    data = pack_row(elements, width, used) + noise[: length - used]
    assert oracle_memory.read_row(bytearray(data), 0, len(elements), width, signed) == elements
    unpacked = unpack_rows(np.frombuffer(data, np.uint8)[None], width, len(elements), signed=signed)
    assert unpacked.tolist() == [elements]


@given(head_dim=head_dims, width=st.sampled_from(MSB_WIDTHS), beat=beats)
def test_row_bytes(head_dim: int, width: int, beat: int) -> None:
    """Rows lie as far apart."""
    assert row_bytes(head_dim, width, beat) == oracle_memory.row_bytes(head_dim, width, beat)


def test_segments() -> None:
    """The 65 points between which weights are straight."""
    assert SEGMENTS.tolist() == oracle_row.SEGMENTS


def test_every_weight() -> None:
    """All 69,633 exponents."""
    assert WEIGHTS.tolist() == [oracle_row.weight(x) for x in range(oracle_row.MAX_EXPONENT + 1)]


@st.composite
def preferences(draw: st.DrawFn) -> tuple[list[int], list[bool], int]:
    """(importances with many ties, protected marks, survivors)."""
    scores = draw(st.lists(st.integers(0, 5) | st.integers(0, 2**48 - 1), min_size=1, max_size=40))
    protected = draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    return scores, protected, draw(st.integers(1, len(scores)))


@given(case=preferences())
def test_top_k(case: tuple[list[int], list[bool], int]) -> None:
    """Survivors with and without protection; for the oracle's `greatest` a bonus stands for protection."""
    scores, protected, k = case
    assert top_k(np.array(scores), k).tolist() == oracle_row.greatest(scores, k)
    raised = [score + (1 << 50) * mark for score, mark in zip(scores, protected, strict=True)]
    assert top_k(np.array(scores), k, np.array(protected)).tolist() == oracle_row.greatest(raised, k)


@pytest.mark.parametrize("config", [OracleConfig(), PAPER, OracleConfig(beat_bytes=4, lanes=64)], ids=str)
def test_digest(config: OracleConfig) -> None:
    """Driver and oracle name a configuration by the same number."""
    fields = {name: getattr(config, name) for name in config.__dataclass_fields__}
    assert AcceleratorConfig(**fields).digest == config.digest
