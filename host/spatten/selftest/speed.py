# SPDX-License-Identifier: BSD-2-Clause
"""Cycle counters and DRAM bandwidth of long jobs, against what `spatten plan` predicts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spatten_drivers import Device, KeyPolicy, Quantization, ValuePolicy
from spatten_drivers.answer import BYTE_COUNTERS
from spatten_drivers.devices import SocDevice
from spatten_drivers.job import LayerJob

from ..errors import SelftestFault
from ..plan import BOARDS, DRAMS, JobFacts, job_cost
from ..plan.memory import litedram
from ..plan.traffic import traffic
from .bench import Bench
from .image import Ran, run_image
from .jobs import image_of, long_jobs
from .result import Finding

#: Of a job's cycles: no job of docs/plan.md is further off than 7.1 %.
TOLERANCE = 0.10
#: Boards by the name that a manifest or a simulator's preset gives them.
_BOARDS = {"small": "ecpix5", "ecp5-85f": "ecpix5", "ecp5-25f": "colorlight-i5"}


@dataclass(frozen=True)
class Setting:
    """What stands around the core: a board's memory, and the clock of the system in Hz."""

    board: str
    clock: float


def cycles(bench: Bench) -> Finding:
    """Cycles of long jobs within the plan's error, bytes exactly, and the share of the DRAM's peak."""
    device, setting = bench.device, setting_of(bench.device)
    rows, far = [], []
    for spec in long_jobs(device.config):
        ran = run_image(bench, image_of(spec, device.config, bench.seed))
        bench.step(f"cycles: {spec.name}")
        row = _row(spec.name, ran, device, setting)
        rows.append(row)
        if abs(row.get("error", 0.0)) > TOLERANCE:
            far.append(
                f"{spec.name}: {row['cycles']:,} cycles, planned {row['planned']:,.0f} ({row['error']:+.1%})"
            )
    figures = {"jobs": rows, "board": setting.board if setting else None, "tolerance": TOLERANCE}
    if not all(row["cycles"] for row in rows):
        if any(row["cycles"] for row in rows) or isinstance(device, SocDevice):
            raise SelftestFault(f"the counter of cycles reads 0: {[row['cycles'] for row in rows]}")
        return Finding("there is no clock", figures, measured=False)
    if setting is None:
        counted = "; ".join(f"{row['name']}: {row['cycles']:,}" for row in rows)
        return Finding(
            f"{counted}. Nothing beside csr.json says what memory is behind the core, so there is no plan to "
            "compare with",
            figures,
            measured=False,
        )
    if far:
        raise SelftestFault(
            f"cycles are further than {TOLERANCE:.0%} from the plan for {setting.board} at "
            f"{setting.clock / 1e6:g} MHz: {'; '.join(far)}"
        )
    return Finding(_text(rows, setting), figures)


def _row(name: str, ran: Ran, device: Device, setting: Setting | None) -> dict[str, Any]:
    assert ran.job is not None
    moved = sum(ran.counters[counter.name] for counter in BYTE_COUNTERS)
    facts = facts_of(ran.job, ran.refetched)
    planned_bytes = traffic(facts, device.config)
    if moved != sum(planned_bytes.values()):
        raise SelftestFault(f"{name}: {moved:,} bytes counted, {sum(planned_bytes.values()):,} planned")
    row: dict[str, Any] = {
        "name": name,
        "cycles": ran.counters["cycles"],
        "bytes": moved,
        "host_seconds": round(ran.seconds, 6),
    }
    if setting and ran.counters["cycles"]:
        chips = DRAMS[BOARDS[setting.board].dram]
        cost = job_cost(facts, device.config, litedram(chips, setting.clock, device.config.beat_bytes))
        a_cycle = moved / ran.counters["cycles"]
        row |= {
            "planned": round(cost.cycles, 1),
            "error": round(cost.cycles / ran.counters["cycles"] - 1.0, 4),
            "dram_bytes_a_second": round(a_cycle * setting.clock),
            "dram_share": round(a_cycle * chips.word_cycles / chips.word_bytes, 4),
        }
    return row


def _text(rows: list[dict[str, Any]], setting: Setting) -> str:
    lines = [
        f"{row['name']}: {row['cycles']:,} cycles, planned {row['planned']:,.0f} ({row['error']:+.1%}), DRAM "
        f"{row['dram_bytes_a_second'] / 1e6:,.0f} MB/s ({row['dram_share']:.0%} of its peak)"
        for row in rows
    ]
    return "\n".join(
        [*lines, f"plan: {setting.board} at {setting.clock / 1e6:g} MHz, within {TOLERANCE:.0%}"]
    )


def setting_of(device: Device) -> Setting | None:
    """By the simulator's preset, or by the manifest beside the register map; ``None`` if neither tells."""
    if not isinstance(device, SocDevice):
        return None
    record = _manifest(Path(device.csr_map.source).with_name("manifest.json"))
    named = str(record.get("board", record.get("preset", "")))
    board = _BOARDS.get(named, named.replace("_", "-"))
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
        ),
        causal=bool(job["causal"]),
        adds=bool(job["add_tokens"]),
    )
