# SPDX-License-Identifier: BSD-2-Clause
"""Rows of a trace and the bytes they fetch, counted as the authors' simulator fetches them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..record import KV_KINDS

#: Rows of K and V are fetched in whole groups of this many.
GROUP = 8
#: Bits of an element in the LSB plane of K.
LSB_BITS = 4
#: Widths that the simulator does not have and fetches as 8 bit; -1 stands for "not configured".
WIDTHS_READ_AS_8 = (-1, 10, 12)
WIDTHS = (-1, 4, 6, 8, 10, 12)


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One head of one layer for one generated token.

    Parameters
    ----------
    line : line of the file, from 1.
    iteration, layer, head : place, each from 0; heads are renumbered after head pruning.
    head_dim : elements of a K or V row.
    length : tokens of the sequence so far.
    keys, values : rows of K and of V that are fetched.
    key_bits, value_bits : bits of an element as the file gives them; -1 is "not configured".
    requant : whether the file says that the LSB plane of K is fetched too.
    """

    line: int
    iteration: int
    layer: int
    head: int
    head_dim: int
    length: int
    keys: int
    values: int
    key_bits: int
    value_bits: int
    requant: bool

    @property
    def refetches(self) -> bool:
        """Whether LSBs of K are fetched; a key width that is read as 8 bit forces it."""
        return self.requant or self.key_bits in WIDTHS_READ_AS_8

    @property
    def by_kind(self) -> dict[str, int]:
        """Bytes by kind. V is one plane, so ``read_v_lsb`` is 0."""
        keys, values = _plane_bytes(self.keys, self.head_dim), _plane_bytes(self.values, self.head_dim)
        return {
            "read_k_msb": keys * _fetched_bits(self.key_bits),
            "read_k_lsb": keys * LSB_BITS if self.refetches else 0,
            "read_v_msb": values * _fetched_bits(self.value_bits),
            "read_v_lsb": 0,
        }


def _plane_bytes(rows: int, head_dim: int) -> int:
    """Bytes of ``rows`` rows in a plane of 1 bit; whole, because a group has 8 rows."""
    return -(-rows // GROUP) * GROUP * head_dim // 8


def _fetched_bits(bits: int) -> int:
    return 8 if bits in WIDTHS_READ_AS_8 else bits


@dataclass(frozen=True)
class Traffic:
    """Sums over some rows.

    Attributes
    ----------
    rows, refetched_rows : rows (head, layer, token), and those that fetch LSBs of K.
    keys, values : K and V rows fetched, before they are rounded up to groups.
    by_kind : bytes by kind.
    dense_bytes_16 : K and V bytes of the whole model at 16 bit: no head, token or value left out.
    """

    rows: int
    refetched_rows: int
    keys: int
    values: int
    by_kind: dict[str, int]
    dense_bytes_16: int

    @property
    def total_bytes(self) -> int:
        """K and V bytes read."""
        return sum(self.by_kind.values())

    def ratio(self, bits: int) -> float:
        """Bytes of the dense run at ``bits`` (16 or 32) over those read."""
        return self.dense_bytes_16 * (bits / 16) / self.total_bytes


@dataclass(frozen=True)
class Trace:
    """A whole file: its rows in order, and the name in its last line (``None`` when there is none)."""

    rows: tuple[TraceRow, ...]
    config: str | None

    @property
    def iterations(self) -> int:
        """Generated tokens."""
        return self.rows[-1].iteration + 1

    @property
    def layers(self) -> int:
        """Layers of the model."""
        return self.rows[-1].layer + 1

    @property
    def heads(self) -> int:
        """Heads of a layer before pruning: the most that any layer has."""
        return max(row.head for row in self.rows) + 1

    @property
    def head_dim(self) -> int:
        """Elements of a K or V row."""
        return self.rows[0].head_dim

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of the sequence at each iteration."""
        return tuple({row.iteration: row.length for row in self.rows}.values())

    def traffic(self) -> Traffic:
        """Sums over all layers."""
        return self._sums(self.rows, self.layers)

    def by_layer(self) -> list[Traffic]:
        """Sums over all iterations for each layer."""
        return [self._sums([r for r in self.rows if r.layer == layer], 1) for layer in range(self.layers)]

    def _sums(self, rows: Sequence[TraceRow], layers: int) -> Traffic:
        kinds = Counter(dict.fromkeys(KV_KINDS, 0))
        for row in rows:
            kinds.update(row.by_kind)
        return Traffic(
            rows=len(rows),
            refetched_rows=sum(row.refetches for row in rows),
            keys=sum(row.keys for row in rows),
            values=sum(row.values for row in rows),
            by_kind=dict(kinds),
            # K and V, 2 bytes an element
            dense_bytes_16=2 * 2 * sum(self.lengths) * layers * self.heads * self.head_dim,
        )
