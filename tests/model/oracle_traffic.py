# SPDX-License-Identifier: BSD-2-Clause
"""What a job fetched and wrote, in rows and bytes (contract, section 8)."""

from __future__ import annotations

from .oracle_config import OracleConfig
from .oracle_memory import Descriptor
from .oracle_row import ALWAYS, BY_ROW, MSB_ONLY, Row


def reuses_rows(job: Descriptor, config: OracleConfig) -> bool:
    """Whether K and V rows are fetched once per head and stay on chip for all its queries."""
    return job["n_queries"] > 1 and job["n_keys"] <= config.kv_buffer_rows


def rows_fetched(job: Descriptor, config: OracleConfig, heads: list[list[Row]]) -> dict[str, int]:
    """Rows fetched of each plane; `heads` holds the finished rows of each live head."""
    fetched = {"k_msb": 0, "k_lsb": 0, "v_msb": 0, "v_lsb": 0}
    for rows in heads:
        if reuses_rows(job, config):
            any_refetched = any(row.refetched for row in rows)
            loads = [(job["n_keys"], job["n_keys"], job["n_keys"] if any_refetched else 0)]
        else:
            loads = [(len(row.gains), len(row.kept), len(row.redone)) for row in rows]
        for keys, values, redone in loads:
            fetched["k_msb"] += keys
            fetched["v_msb"] += values
            fetched["k_lsb"] += {MSB_ONLY: 0, ALWAYS: keys}.get(job["k_policy"], redone)
            fetched["v_lsb"] += {MSB_ONLY: 0, ALWAYS: values, BY_ROW: values if redone else 0}[
                job["v_policy"]
            ]
    return fetched


def counters(job: Descriptor, config: OracleConfig, heads: list[list[Row]]) -> dict[str, int]:
    """Every counter of the answer that does not depend on a clock."""
    fetched = rows_fetched(job, config, heads)
    n_rows = job["n_heads"] * job["n_queries"]
    tokens, head_words = job.pad(4 * job["n_slots"]), job.pad(8 * job["total_heads"])
    return {
        "refetched_rows": sum(row.refetched for rows in heads for row in rows),
        "keys_fetched": fetched["k_msb"],
        "values_fetched": fetched["v_msb"],
        "read_q": n_rows * job.row(job["q_bits"]),
        **{f"read_{plane}": count * job.row(job[f"{plane}_bits"]) for plane, count in fetched.items()},
        "read_importance": tokens * job["add_tokens"] + head_words * job["add_heads"],
        "read_control": job["descriptor_bytes"],
        "written_output": n_rows * job.pad(2 * job["head_dim"]),
        "written_importance": tokens + head_words,
        "written_control": job.written_control,
    }
