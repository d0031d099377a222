# SPDX-License-Identifier: BSD-2-Clause
"""Bytes of a layer job by kind (``docs/contract.md``, section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from spatten_drivers import AcceleratorConfig, KeyPolicy, ValuePolicy
from spatten_drivers.job import HEADER_BYTES
from spatten_drivers.planes import padded, row_bytes

from .facts import JobFacts

#: Answer header; the same as a descriptor's.
ANSWER_BYTES = HEADER_BYTES


def traffic(job: JobFacts, config: AcceleratorConfig) -> dict[str, float]:
    """Bytes by the names of ``spatten_drivers.answer.BYTE_COUNTERS``; whole if ``job.refetched`` is."""
    beat = config.beat_bytes
    importance = padded(4 * job.slots, beat) + padded(8 * job.total_heads, beat)
    lists = 8 * job.heads, 2 * job.keys, 2 * job.queries
    survivors = 2 * min(job.keep_tokens, job.keys), 2 * min(job.keep_heads, job.heads)
    return {
        "read_q": job.rows * row_bytes(job.head_dim, job.quantization.q_bits, beat),
        **_planes(job, config),
        "read_importance": importance if job.adds else 0,
        "read_control": HEADER_BYTES + sum(padded(size, beat) for size in lists),
        "written_output": job.rows * padded(2 * job.head_dim, beat),
        "written_importance": importance,
        "written_control": ANSWER_BYTES + sum(padded(size, beat) for size in survivors),
    }


def as_counted(job: JobFacts, config: AcceleratorConfig, counters: Mapping[str, int]) -> JobFacts:
    """The job with what its numbers decided, as it counted: keys that refetched, values within the limit."""
    sizes = plane_row_bytes(job, config)
    if job.by_key:
        job = replace(job, refetched=counters["read_k_lsb"] // sizes["k_lsb"])
    read = counters["read_v_msb"] // sizes["v_msb"]
    if job.reuses(config.kv_buffer_rows) or read == job.heads * job.kept.sum():
        return job
    return replace(job, limited=read / (job.heads * int(job.visible.sum())))


def rows_fetched(job: JobFacts, config: AcceleratorConfig) -> dict[str, float]:
    """Rows of each plane that a job fetches."""
    if not job.reuses(config.kv_buffer_rows):
        seen, kept = job.heads * int(job.visible.sum()), job.heads * float(job.kept.sum())
        return {
            "k_msb": seen,
            "k_lsb": job.refetched if job.by_key else seen * job.second_share,
            "v_msb": kept,
            "v_lsb": kept * job.value_share,
        }
    once = job.heads * job.keys
    late = job.refetching_heads * job.keys
    rules = job.quantization
    return {
        "k_msb": once,
        "k_lsb": {KeyPolicy.ALWAYS: once, KeyPolicy.PROGRESSIVE: late}.get(rules.k_policy, 0),
        "v_msb": once,
        "v_lsb": {ValuePolicy.ALWAYS: once, ValuePolicy.ON_REFETCH: late}.get(rules.v_policy, 0),
    }


def plane_row_bytes(job: JobFacts, config: AcceleratorConfig) -> dict[str, int]:
    """Bytes of a row of each plane, padding included; 0 where there is no plane."""
    rules = job.quantization
    widths = {name: getattr(rules, f"{name}_bits") for name in ("k_msb", "k_lsb", "v_msb", "v_lsb")}
    return {name: row_bytes(job.head_dim, width, config.beat_bytes) for name, width in widths.items()}


def _planes(job: JobFacts, config: AcceleratorConfig) -> dict[str, float]:
    sizes, rows = plane_row_bytes(job, config), rows_fetched(job, config)
    return {f"read_{name}": rows[name] * sizes[name] for name in rows}
