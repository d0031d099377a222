# SPDX-License-Identifier: BSD-2-Clause
"""Cycle counters and DRAM bandwidth of long jobs, against the clock and what `spatten plan` predicts."""

from __future__ import annotations

from typing import Any

from spatten_drivers import AcceleratorConfig, Device
from spatten_drivers.answer import BYTE_COUNTERS
from spatten_drivers.devices import SocDevice

from ..errors import SelftestFault
from ..plan import BOARDS, DRAMS, Machine, facts_of, job_cost
from ..plan.memory import litedram
from ..plan.traffic import as_counted, traffic
from .bench import Bench
from .image import Ran, run_image
from .jobs import image_of, long_jobs
from .result import Finding
from .setting import Setting, setting_of

#: Of a job's cycles: no job of docs/plan.md is further off than 7.1 %.
TOLERANCE = 0.10
#: Cycles of a simulator in which the host pushes a job and sees its end, beside those of the job.
HOST_CYCLES = 2000


def cycles(bench: Bench) -> Finding:
    """Cycles of long jobs: possible, as the clock has them, within the plan's error; bytes exactly."""
    device, setting = bench.device, setting_of(bench.device)
    rows: list[dict[str, Any]] = []
    figures = {"jobs": rows, "board": setting.board if setting else None, "tolerance": TOLERANCE}
    for spec in long_jobs(device.config):
        ran = run_image(bench, image_of(spec, device.config, bench.seed))
        rows.append(_row(spec.name, ran, device, setting))
        bench.step(f"cycles: {spec.name}")
    if not isinstance(device, SocDevice):
        return Finding("there is no clock", figures, measured=False)
    if impossible := [row["name"] + ": " + why for row in rows if (why := _impossible(row))]:
        raise SelftestFault(f"the counters of cycles cannot be right: {'; '.join(impossible)}", figures)
    planned = setting is not None and is_planned(device.config, setting)
    if planned and (far := [_line(row) for row in rows if abs(row.get("error", 0.0)) > TOLERANCE]):
        raise SelftestFault(
            f"cycles are further than {TOLERANCE:.0%} from the plan of {setting}: {'; '.join(far)}", figures
        )
    return Finding("\n".join([*map(_line, rows), _compared(setting, planned)]), figures)


def is_planned(config: AcceleratorConfig, setting: Setting) -> bool:
    """Whether docs/plan.md compares this core behind this memory with simulation."""
    dram = DRAMS[BOARDS[setting.board].dram]
    return Machine(setting.board, config, setting.clock, dram).checked


def _row(name: str, ran: Ran, device: Device, setting: Setting | None) -> dict[str, Any]:
    """Figures of a job that ended well."""
    assert ran.job is not None
    moved = sum(ran.counters[counter.name] for counter in BYTE_COUNTERS)
    facts = as_counted(facts_of(ran.job, ran.refetched), device.config, ran.counters)
    if moved != (wanted := round(sum(traffic(facts, device.config).values()))):
        raise SelftestFault(f"{name}: {moved:,} bytes counted, {wanted:,} planned")
    counted = ran.counters["cycles"]
    row: dict[str, Any] = {
        "name": name,
        "bytes": moved,
        "cycles": counted,
        "busy": {unit: ran.counters[unit] for unit in ("busy_qk", "busy_pv")},
        "stalls": {what: n for what, n in ran.counters.items() if what.startswith("stall_")},
        "host_seconds": round(ran.seconds, 6),
        "simulator_cycles": ran.clock,
        "clock_hz": setting.clock if setting and device.is_board else None,
    }
    if setting and counted:
        chips = DRAMS[BOARDS[setting.board].dram]
        cost = job_cost(facts, device.config, litedram(chips, setting.clock, device.config.beat_bytes))
        row |= {
            "planned": round(cost.cycles, 1),
            "error": round(cost.cycles / counted - 1.0, 4),
            "dram_bytes_a_second": round(moved / counted * setting.clock),
            "dram_share": round(moved / counted * chips.word_cycles / chips.word_bytes, 4),
        }
    return row


def _impossible(row: dict[str, Any]) -> str:
    """Why the counters of a job cannot be right, empty if they can."""
    counted, clock = row["cycles"], row["simulator_cycles"]
    working = max(row["busy"].values())
    stood = sum(row["stalls"].values())
    if not working or counted < working + stood:
        return f"{counted:,} cycles, of which the arrays worked {working:,} and stood {stood:,}"
    if clock is not None and not counted <= clock <= counted + HOST_CYCLES:
        return f"{counted:,} cycles counted while the simulator's clock made {clock:,}"
    if row["clock_hz"] and counted / row["clock_hz"] > row["host_seconds"]:
        return f"{counted / row['clock_hz']:.6f} s counted, {row['host_seconds']:.6f} s passed on the host"
    return ""


def _line(row: dict[str, Any]) -> str:
    """A job in a line."""
    line = f"{row['name']}: {row['cycles']:,} cycles"
    if "planned" not in row:
        return line
    return (
        f"{line}, planned {row['planned']:,.0f} ({row['error']:+.1%}), DRAM "
        f"{row['dram_bytes_a_second'] / 1e6:,.0f} MB/s ({row['dram_share']:.0%} of its peak)"
    )


def _compared(setting: Setting | None, planned: bool) -> str:
    """What the figures were held to."""
    if setting is None:
        return "nothing beside csr.json says what memory is behind the core: there is no plan to compare with"
    if not planned:
        return f"plan of {setting}; not held to it, as its cycles were not compared with simulation"
    return f"plan of {setting}, held to {TOLERANCE:.0%}"
