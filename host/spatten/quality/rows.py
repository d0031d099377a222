# SPDX-License-Identifier: BSD-2-Clause
"""The rows of the study: how attention runs. Most change one thing against 12 bits, the last all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from spatten_drivers import Quantization

from ..schedule import Schedule, paper_schedule


@dataclass(frozen=True)
class Row:
    """One way to run attention.

    Parameters
    ----------
    name : in tables and file names.
    family : ``float``, ``bits``, ``tokens``, ``heads``, ``values`` or ``together``; colours the plot.
    bits : width of Q, K and V in one plane, or (MSB, LSB) widths of two planes; ``None`` is float32.
    tokens, heads : average share kept in the layers that are pruned at all (the paper's interpolation).
    values : share of the values kept per query.
    value_share : values whose weight is below this share of the greatest of their row are not read.
    threshold : a row of two planes fetches its LSBs if its largest probability is below this.
    by_key : not the row, but the keys of a generation step fetch their LSBs whose probability is above the
        threshold; V stands in one plane.
    recent : tokens that a generation read or wrote last and never prunes. 0 is the paper's rule, which spares
        the current token alone; a row with more says nothing about a text that is read at once.
    decay : factor on old importance at each token that a generation writes; 1 is the paper's rule.
    v_bits : width of V, where that is not ``bits``, in one plane.
    growth : what a row louder than its cache's scale does to it, ``double`` or ``saturate``.
    """

    name: str
    family: str
    bits: int | tuple[int, int] | None = 12
    tokens: float = 1.0
    heads: float = 1.0
    values: float = 1.0
    value_share: float = 0.0
    threshold: float = 0.1
    by_key: bool = False
    recent: int = 0
    decay: float = 1.0
    v_bits: int | None = None
    growth: str = "double"


#: Tokens that ``recent`` rows spare. Importance adds up over steps, so the newest tokens have had no time.
RECENT = 32
#: ``lean`` rows spare more of them, and halve old importance at each step: what mattered long ago may go.
LEAN: dict[str, Any] = {"recent": 96, "decay": 0.5}

#: Refetch by key. A scale that doubles would cost V one of its four bits, so louder rows are clamped.
KEYS: dict[str, Any] = {
    "bits": (4, 4),
    "v_bits": 4,
    "by_key": True,
    "threshold": 1 / 64,
    "growth": "saturate",
}

FLOAT = Row("float", "float", bits=None)

ROWS: tuple[Row, ...] = (
    FLOAT,
    Row("12 bit", "bits"),
    Row("8 bit", "bits", bits=8),
    Row("6 bit", "bits", bits=6),
    Row("6+4 bit", "bits", bits=(6, 4)),
    Row("4 bit", "bits", bits=4),
    *(Row(f"tokens -{drop}%", "tokens", tokens=1 - drop / 100) for drop in (10, 30, 50, 70)),
    *(Row(f"tokens -{d}%, recent kept", "tokens", tokens=1 - d / 100, recent=RECENT) for d in (30, 50, 70)),
    *(Row(f"heads -{drop}%", "heads", heads=1 - drop / 100) for drop in (10, 25)),
    *(Row(f"values -{drop}%", "values", values=1 - drop / 100) for drop in (50, 80)),
    Row("6 bit, values above 0.003", "values", bits=6, value_share=0.003),
    Row("mild", "together", bits=(8, 4), tokens=0.9, heads=0.9, values=0.5),
    Row("paper", "together", bits=(6, 4), tokens=0.7, heads=0.9, values=0.5),
    Row("hard", "together", bits=(6, 4), tokens=0.5, heads=0.75, values=0.2),
    Row("4 bit, tokens -30%", "together", bits=4, tokens=0.7),
    Row("6 bit, tokens -30%, recent kept", "together", bits=6, tokens=0.7, recent=RECENT),
    Row("6+4 bit, tokens -70%, recent kept", "together", bits=(6, 4), tokens=0.3, recent=RECENT),
    Row("6 bit, tokens -70%, recent kept", "together", bits=6, tokens=0.3, recent=RECENT),
    *(
        Row(f"6 bit, tokens -{d}%, lean", "together", bits=6, tokens=1 - d / 100, **LEAN)
        for d in (40, 50, 60)
    ),
    Row("K 6, V 4 bit, tokens -45%, lean", "together", bits=6, v_bits=4, tokens=0.55, **LEAN),
    Row("by key", "together", **KEYS),
    Row("by key, values above 0.003", "together", value_share=0.003, **KEYS),
    *(
        Row(
            f"by key, values above 0.003, tokens -{d}%, lean",
            "together",
            value_share=0.003,
            tokens=1 - d / 100,
            **KEYS,
            **LEAN,
        )
        for d in (40, 50, 60)
    ),
)


def schedule_of(row: Row, layers: int) -> Schedule | None:
    """The schedule of a row for a model of ``layers`` layers; ``None`` for float, which no device runs.

    A generation's prompt is read whole, as in the paper; only its steps are pruned.
    """
    if row.bits is None:
        return None
    return paper_schedule(
        layers,
        tokens=row.tokens,
        heads=row.heads,
        values=row.values,
        value_share=row.value_share,
        quantization=_formats(row),
        prune_prefill=False,
        protect_last=max(1, row.recent),
        decay=row.decay,
        name=row.name,
    )


def _formats(row: Row) -> Quantization:
    if isinstance(row.bits, tuple):
        make = Quantization.by_key if row.by_key else Quantization.progressive
        formats = make(*row.bits, row.threshold, growth=row.growth)
    else:
        formats = Quantization.static(row.bits or 12, growth=row.growth)
    return replace(formats, v_msb_bits=row.v_bits) if row.v_bits else formats
