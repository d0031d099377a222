# SPDX-License-Identifier: BSD-2-Clause
"""Comparing with a constant and counting set bits in plain LUTs: so narrow, carry chains would be wasted."""

from __future__ import annotations

from migen import Constant, Module, Signal, bits_for
from migen.fhdl.structure import _Value

Columns = list[list[Signal]]


def at_least(value: _Value, bound: int) -> _Value:
    """``value >= bound``: one LUT for four bits."""
    if bound == 0:
        return Constant(1)
    top = max(len(value), bits_for(bound)) - 1
    bit = value[top] if top < len(value) else Constant(0)
    rest = bound & ((1 << top) - 1)
    if bound >> top == 0:
        return bit | at_least(value[:top], rest)
    return bit & at_least(value[:top], rest) if rest else bit


def reduce_columns(module: Module, columns: Columns, height: int, width: int) -> Columns:
    """Carry-save reduction (Wallace) of bits in columns of equal weight, to at most ``height`` bits a column.

    Parameters
    ----------
    module : gets the logic.
    columns : bits of weight 1, 2, 4, ...
    height : 2 leaves a sum and a carry row, 1 a binary number.
    width : columns of the result; the sum must fit them, so carries beyond are never set.
    """
    columns = [list(column) for column in columns]
    while any(len(column) > height for column in columns):
        columns = _level(module, columns, height)[:width]
    return columns


def _level(module: Module, columns: Columns, height: int) -> Columns:
    after: Columns = [[] for _ in range(len(columns) + 1)]
    settled = True  # a half adder is worth it only once no more carries come from below
    for place, column in enumerate(columns):
        adders = len(column) // 3 if len(column) > height else 0
        groups = [column[3 * i : 3 * i + 3] for i in range(adders)]
        rest = column[3 * adders :]
        if height == 1 and len(column) == 2 and settled:
            groups, rest = [column], []
        for group in groups:
            total, carry = _add(module, group)
            after[place].append(total)
            after[place + 1].append(carry)
        after[place] += rest
        settled = settled and len(column) <= 1
    while not after[-1]:
        after.pop()
    return after


def _add(module: Module, bits: list[Signal]) -> tuple[Signal, Signal]:
    """Full or half adder."""
    total, carry = Signal(), Signal()
    if len(bits) == 2:
        a, b = bits
        module.comb += [total.eq(a ^ b), carry.eq(a & b)]
    else:
        a, b, c = bits
        module.comb += [total.eq(a ^ b ^ c), carry.eq((a & b) | (c & (a | b)))]
    return total, carry
