# SPDX-License-Identifier: BSD-2-Clause
"""docs/soc.md, from the numbers of build/soc.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spatten.report.markdown import markdown_table
from tests.fpga.core.cycle_shares import SHARES

from .keys import KEYS

PAGE, TEXT = Path("docs/soc.md"), Path(__file__).parent / "page.md"
NAMES = {
    "decode": "decode, 992 keys",
    "decode_pruned": "decode, 30 % of 992",
    "prefill": "prefill 384",
}
STALLS = ("stall_read", "stall_write", "stall_softmax", "stall_topk")


def page(numbers: Mapping[str, Any]) -> str:
    """The page.

    Raises
    ------
    KeyError : a figure is missing.
    """
    return TEXT.read_text("utf-8").format(
        figures=figures(numbers),
        models=models(numbers["models"]),
        played=played_table(numbers["played"]),
        shares=shares_table(numbers["played"]),
        causes="\n".join(f"- **{name}**: {what}." for name, what in SHARES.items()),
        stalls=stalls_table(numbers["played"]),
        savings=savings(numbers["per8_savings"]),
        random_error=f"{100 * numbers['plan_error_max_random_jobs']:.1f} %",
        gateware=f"`{numbers['plan_gateware']}`{numbers['plan_gateware_is']}",
        repeated=f"{numbers['link_packets_repeated']:,}",
        download=numbers["bulk_download_bytes_per_cycle"],
    )


def figures(numbers: Mapping[str, Any]) -> str:
    """All keys, their targets, and by how much one is missed."""
    rows = [
        [
            f"`{name}`",
            key.meaning,
            key.memory,
            key.text(numbers[name]),
            key.target(),
            key.verdict(numbers[name]),
        ]
        for name, key in KEYS.items()
    ]
    return markdown_table(["key", "what it is", "measured on", "figure", "asked", ""], rows, text_columns=3)


def models(found: list[dict[str, Any]]) -> str:
    """A row a model."""
    rows = [
        [
            one["name"],
            f"{one['jobs']}",
            f"{one['job_cycles']:,}",
            f"{one['cycles']:,}",
            f"{one['seconds']:,}",
            "all" if one["digest_equal"] else "**no**",
        ]
        for one in found
    ]
    head = ["model and schedule", "jobs", "cycles in jobs", "cycles in all", "seconds", "digests equal"]
    return markdown_table(head, rows)


def name_of(job: str) -> str:
    """For the tables."""
    return NAMES.get(job, f"trace {job} token")


def played_table(played: Mapping[str, Any]) -> str:
    """Cycles, bytes and shares of the jobs."""
    rows = [
        [
            name_of(name),
            f"{one['jobs']}",
            f"{one['cycles']:,}",
            f"{one['bytes']:,}",
            f"{100 * one['dram_share']:.1f} %",
            f"{100 * one['busy']:.1f} %",
            f"{one['refetched']}",
        ]
        for name, one in played.items()
    ]
    head = ["what", "jobs", "cycles", "bytes needed", "DRAM share", "arrays busy", "rows refetched"]
    return markdown_table(head, rows)


def shares_table(played: Mapping[str, Any]) -> str:
    """What all cycles went to, in percent and in cycles."""
    return _parts_table(played, "shares", SHARES)


def stalls_table(played: Mapping[str, Any]) -> str:
    """The counters of the answers: cycles in which no array worked."""
    return _parts_table(played, "counters", STALLS)


def _parts_table(played: Mapping[str, Any], of: str, parts: Sequence[str]) -> str:
    rows = [
        [
            name_of(name),
            *(f"{one[of][part]:,} ({100 * one[of][part] / one['cycles']:.1f} %)" for part in parts),
        ]
        for name, one in played.items()
    ]
    return markdown_table(["what", *parts], rows)


def savings(found: Mapping[str, Any]) -> str:
    """Of each token of the traces, and of both."""
    rows = [
        [f"{token} token" if token != "both" else "both", *(f"{one[part]:.2f}" for part in one)]
        for token, one in found.items()
    ]
    return markdown_table(
        ["", "cycles dense / pruned", "bytes dense / pruned", "the one over the other"], rows
    )
