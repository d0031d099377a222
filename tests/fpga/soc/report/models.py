# SPDX-License-Identifier: BSD-2-Clause
"""Whole models on the simulated system beside the emulator."""

from __future__ import annotations

from typing import Any

from rich.progress import track

from tests.host.rtl import CASES, Compared, compared, simulated


def models_compared() -> list[Compared]:
    """MiniLM over a sentence and our GPT-2 with its prompt and 16 tokens, dense and pruned."""
    with simulated() as soc:
        return [compared(case, soc) for case in track(list(CASES.values()), "whole models")]


def figures(found: list[Compared]) -> dict[str, Any]:
    """The keys of the report."""
    return {
        "models": [
            {
                "name": one.name,
                "jobs": one.jobs,
                "cycles": one.cycles,
                "job_cycles": one.job_cycles,
                "seconds": round(one.seconds, 1),
                "digest_equal": not one.differing and one.same_output,
            }
            for one in found
        ],
        "model_mismatches": sum(len(one.differing) + (not one.same_output) for one in found),
        "sim_cycles_per_s": round(sum(one.cycles for one in found) / sum(one.seconds for one in found)),
    }
