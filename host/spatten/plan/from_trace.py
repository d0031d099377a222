# SPDX-License-Identifier: BSD-2-Clause
"""A workload trace of the SpAtten authors as layer jobs of this accelerator.

A trace says how many keys and values each head of a layer fetched for a generated token, and how wide. A
layer job has one key list and one format for all of its heads: it gets the most keys and values, and the
widest format, that one of them had. Widths that the trace leaves open are read as 8 bits in one plane, as the
authors' simulator does.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from spatten_drivers import KeyPolicy, Quantization, ValuePolicy

from ..trace import Trace, TraceRow
from ..trace.rows import LSB_BITS, WIDTHS_READ_AS_8
from .facts import JobFacts


def trace_jobs(trace: Trace, dense: Quantization | None = None) -> Iterator[list[JobFacts]]:
    """The jobs of each generated token. With ``dense`` nothing is pruned, in those formats."""
    for _, rows in groupby(trace.rows, lambda row: row.iteration):
        layers = [list(layer) for _, layer in groupby(rows, lambda row: row.layer)]
        yield [
            _dense_job(trace, layer, dense) if dense else _job(trace, layer, _survivors(layers, number))
            for number, layer in enumerate(layers)
        ]


def _survivors(layers: list[list[TraceRow]], number: int) -> tuple[int, int]:
    """Tokens and heads that the next layer has."""
    following = layers[min(number + 1, len(layers) - 1)]
    return max(row.keys for row in following), len(following)


def _job(trace: Trace, rows: list[TraceRow], survivors: tuple[int, int]) -> JobFacts:
    keys = max(row.keys for row in rows)
    tokens, heads = survivors
    return JobFacts(
        head_dim=trace.head_dim,
        total_heads=trace.heads,
        heads=len(rows),
        slots=rows[0].length,
        keys=keys,
        visible=np.array([keys]),
        keep_values=max(row.values for row in rows),
        keep_tokens=min(tokens, keys),
        keep_heads=min(heads, len(rows)),
        refetched=sum(row.requant for row in rows),
        quantization=_formats(max(rows, key=lambda row: (_open(row.key_bits), row.key_bits))),
        causal=True,
    )


def _dense_job(trace: Trace, rows: list[TraceRow], formats: Quantization) -> JobFacts:
    length, heads = rows[0].length, trace.heads
    return JobFacts(
        trace.head_dim, heads, heads, length, length, np.array([length]), length, length, heads, 0.0, formats,
        causal=True,
    )  # fmt: skip


def _open(bits: int) -> bool:
    """A width that is read as 8 bits in one plane."""
    return bits in WIDTHS_READ_AS_8


def _formats(row: TraceRow) -> Quantization:
    """Q as wide as a whole K; K in two planes where the trace has an increment, V in one."""
    if _open(row.key_bits):
        return Quantization.static(8)
    value = 8 if _open(row.value_bits) else row.value_bits
    return Quantization(
        q_bits=min(12, row.key_bits + LSB_BITS),
        k_msb_bits=row.key_bits,
        k_lsb_bits=LSB_BITS,
        v_msb_bits=value,
        k_policy=KeyPolicy.PROGRESSIVE,
        v_policy=ValuePolicy.MSB_ONLY,
    )
