# SPDX-License-Identifier: BSD-2-Clause
"""What `spatten plan` must know of a device and of a job that ran on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spatten_drivers import Device, KeyPolicy, Quantization, ValuePolicy
from spatten_drivers.devices import SocDevice
from spatten_drivers.job import LayerJob

from ..plan import BOARDS, JobFacts


@dataclass(frozen=True)
class Setting:
    """What stands around the core: a board's memory, and the clock of the system in Hz."""

    board: str
    clock: float

    def __str__(self) -> str:
        return f"{self.board} at {self.clock / 1e6:g} MHz"


def setting_of(device: Device) -> Setting | None:
    """By the manifest beside the register map, a bitstream's or a simulator's; ``None`` if none tells."""
    if not isinstance(device, SocDevice):
        return None
    record = _manifest(Path(device.csr_map.source).with_name("manifest.json"))
    board = str(record.get("board", ""))
    clock = record.get("clock_hz", device.csr_map.constants.get("config_clock_frequency"))
    return Setting(board, float(clock)) if board in BOARDS and clock else None


def _manifest(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def facts_of(job: LayerJob, refetched: int) -> JobFacts:
    """A job as the plan sees it, of which so many rows refetched."""
    keys, queries = job.key_slots, job.queries.astype(np.int64)
    seen = np.searchsorted(keys, queries, side="right")
    return JobFacts(
        head_dim=job["head_dim"],
        total_heads=job["total_heads"],
        heads=job["n_heads"],
        slots=job["n_slots"],
        keys=len(keys),
        visible=seen if job["causal"] else np.full(len(queries), len(keys)),
        keep_values=job["keep_values"],
        keep_tokens=job["keep_tokens"],
        keep_heads=job["keep_heads"],
        refetched=refetched,
        quantization=Quantization(
            **{
                name: job[name] for name in ("q_bits", "k_msb_bits", "k_lsb_bits", "v_msb_bits", "v_lsb_bits")
            },
            k_policy=KeyPolicy(job["k_policy"]),
            v_policy=ValuePolicy(job["v_policy"]),
            threshold=0.5,  # of no matter, as the rows that refetched are counted
        ),
        causal=bool(job["causal"]),
        adds=bool(job["add_tokens"]),
    )
