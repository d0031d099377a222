# SPDX-License-Identifier: BSD-2-Clause
"""The optional logic analyzer: LiteScope on the signals by which one sees what the core and its memory do."""

from __future__ import annotations

from litescope import LiteScopeAnalyzer
from migen import Signal

from spatten_fpga.core.accelerator import SpAtten

DEPTH = 512  # samples; some 80 bits wide, so 3 block RAMs of an ECP5
CSV = "analyzer.csv"


def interesting(spatten: SpAtten) -> dict[str, Signal]:
    """What is sampled, by the name that it has in ``analyzer.csv``.

    Jobs that begin and end; commands and data at the core's memory port; which array works and, in cycles in
    which none does, why, as the counters of an answer have it.
    """
    core, memory, engine = spatten.core, spatten.memory, spatten.core.engine
    return {
        "job_valid": core.jobs.valid,
        "job_ready": core.jobs.ready,
        "end_valid": core.ends.valid,
        "end_status": core.ends.status,
        "end_job_id": core.ends.job_id[:8],
        "abort": core.abort,
        "dram_ready": spatten.dram_ready,
        "irq": spatten.irq,
        "command_valid": memory.command.valid,
        "command_ready": memory.command.ready,
        "command_address": memory.command.address,
        "data_valid": memory.data.valid,
        "data_ready": memory.data.ready,
        "write_valid": memory.write.valid,
        "write_ready": memory.write.ready,
        "writes_pending": memory.writes_pending,
        "running": engine.running,
        **engine.counters.events,
    }


def add_analyzer(soc, depth: int = DEPTH) -> None:
    """Give a system an analyzer with CSRs ``analyzer_*``; :func:`analyzer_csv` says what its bits are.

    Parameters
    ----------
    soc : :class:`.SpattenSoc`, not finalised yet.
    depth : samples that it keeps.
    """
    probes = []
    for name, signal in interesting(soc.spatten).items():
        probe = Signal(len(signal), name_override=f"scope_{name}")  # so that every build names it the same
        soc.comb += probe.eq(signal)
        probes.append(probe)
    soc.analyzer_probes = {probe.name_override.removeprefix("scope_"): len(probe) for probe in probes}
    soc.analyzer = LiteScopeAnalyzer(
        probes, depth, clock_domain="sys", samplerate=soc.sys_clk_freq, register=True, csr_csv=None
    )


def analyzer_csv(soc) -> str:
    """The content of ``analyzer.csv`` for LiteScope's own software: names and widths in the order of bits."""
    analyzer = soc.analyzer
    lines = [
        f"config,None,data_width,{analyzer.data_width}",
        f"config,None,depth,{analyzer.depth}",
        f"config,None,samplerate,{analyzer.samplerate}",
        *(f"signal,0,{name},{width}" for name, width in soc.analyzer_probes.items()),
    ]
    return "\n".join(lines) + "\n"
