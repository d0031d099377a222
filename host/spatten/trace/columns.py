# SPDX-License-Identifier: BSD-2-Clause
"""The columns of a trace: how a cell is read and what may stand there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .rows import LSB_BITS, WIDTHS

# 9 digits are more than any count needs, and few enough for any arithmetic
_WHOLE = re.compile(r"-?[0-9]{1,9}(\.0+)?")
_DECIMAL = re.compile(r"-?[0-9]{1,9}(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?")


@dataclass(frozen=True)
class Column:
    """What may stand in a column: how a cell is read (``None``: it cannot be), which values are legal."""

    rule: str
    read: Callable[[str], Any]
    legal: Callable[[Any], bool] = lambda _: True


def _whole(cell: str) -> int | None:
    # pandas wrote some whole numbers as 64.0
    return int(cell.partition(".")[0]) if _WHOLE.fullmatch(cell) else None


def decimal(cell: str) -> float | None:
    """The number in a cell, or ``None``."""
    return float(cell) if _DECIMAL.fullmatch(cell) else None


def _boolean(cell: str) -> bool | None:
    return {"true": True, "false": False}.get(cell.lower())


def _at_least(least: int) -> Column:
    return Column(f"a whole number of {least} or more", _whole, lambda value: value >= least)


def _unset_or_at_least(least: int) -> Column:
    rule = f"-1 (not configured) or a whole number of {least} or more"
    return Column(rule, _whole, lambda value: value == -1 or value >= least)


def _one_of(*values: int) -> Column:
    rule = f"one of {', '.join(map(str, values))} (-1 is not configured)"
    return Column(rule, _whole, lambda value: value in values)


_THRESHOLD = Column(
    "-1 (not configured) or a probability from 0 to 1", decimal, lambda value: value == -1 or 0 <= value <= 1
)
_FLAG = Column("True or False", _boolean)

#: The columns of the format. A file has all of them.
COLUMNS = {
    "iteration_id": _at_least(0),
    "layer_id": _at_least(0),
    "head_id": _at_least(0),
    "embedding_length_D": _at_least(1),
    "sentence_length_L": _at_least(1),
    "key_fetch_num": _at_least(1),
    "quant_key_bit": _one_of(*WIDTHS),
    "quant_query_bit": _unset_or_at_least(1),
    "auto_requant_thres": _THRESHOLD,
    "if_requant": _FLAG,
    "auto_requant_incre": _one_of(-1, LSB_BITS),
    "value_fetch_num": _at_least(1),
    "quant_value_bit": _one_of(*WIDTHS),
    "if_accumulate_importance": _FLAG,
    "if_rescale_previous_importance": _FLAG,
    "if_topk": _FLAG,
    "topk": _unset_or_at_least(1),
}
