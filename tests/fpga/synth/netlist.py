# SPDX-License-Identifier: BSD-2-Clause
"""``make core-netlist``: cores as netlists of ECP5 cells play jobs; all answers are the model's."""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path

from spatten.report.markdown import markdown_rows, markdown_table
from spatten.report.write import write_atomic
from spatten_drivers.config import PRESETS, AcceleratorConfig
from spatten_fpga.synth.gates import Gates, gates
from tests.fpga.core.core_bench import CoreBench, TimedCore
from tests.fpga.core.test_core import fitting_spec
from tests.fpga.core.test_presets import KINDS, prefill
from tests.model.jobs import JobImage, build
from tests.model.oracle_config import OracleConfig
from tests.model.test_against_model import explain, run_model

PAGE = Path("docs/netlist.md")
TEMPLATE = Path(__file__).with_name("netlist.md")
KIND = ("LUT4", "CCU2C", "TRELLIS_FF", "TRELLIS_DPR16X4", "DP16KD", "MULT18X18D")
COLUMNS = ["core", *KIND, "jobs", "cycles", "differ"]
#: The smallest core and the flagship's.
USUAL = ("ecp5-25f-slim", "ecp5-85f")


def jobs(config: AcceleratorConfig, count: int) -> list[JobImage]:
    """A job of every kind, and random ones."""
    oracle = OracleConfig(**asdict(config))
    drawn = (fitting_spec(random.Random(f"netlist {n}"), oracle) for n in range(count))
    return [build(spec) for spec in (*(prefill(oracle, **changes) for changes in KINDS.values()), *drawn)]


def mapped_core(config: AcceleratorConfig) -> tuple[CoreBench, Gates]:
    """A core's netlist on a bench, and what it is."""
    found: list[Gates] = []

    def mapped(verilog: str) -> str:
        found.append(gates(verilog))
        return found[0].verilog

    return CoreBench(TimedCore(config), mapped=mapped), found[0]


def difference(core: CoreBench, image: JobImage) -> str:
    """Where the answer of a core is another than the model's; empty if nowhere."""
    status, memory, _ = core.run(image, latency=20)
    wanted, expected = run_model(image, "numpy")
    return explain(image, memory, expected) if status == wanted else f"status {status}, expected {wanted}"


def row(preset: str, count: int) -> tuple[list[str], int]:
    """A row of the table, and how many jobs differ."""
    start = time.monotonic()
    core, netlist = mapped_core(PRESETS[preset])
    cycles, differ = 0, 0
    images = jobs(PRESETS[preset], count)
    for place, image in enumerate(images, 1):
        if found := difference(core, image):
            differ += 1
            sys.stdout.write(f"{preset}: job {place} differs: {found}\n")
        cycles += core.cycles
    sys.stdout.write(f"{preset}: {len(images)} jobs, {differ} differ, {time.monotonic() - start:.0f} s\n")
    numbers = [*(netlist.cells[kind] for kind in KIND), len(images), cycles, differ]
    return [f"`{preset}`", *(f"{number:,}" for number in numbers)], differ


def main(arguments: list[str]) -> int:
    """Play the jobs; 0 if no answer differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.fpga.synth.netlist", description=__doc__)
    usual = " ".join(USUAL)
    parser.add_argument("presets", nargs="*", default=USUAL, metavar="PRESET", help=f"cores ({usual})")
    parser.add_argument("--jobs", type=int, default=20, metavar="N", help="random jobs a core (%(default)s)")
    given = parser.parse_args(arguments)
    differ = 0
    for preset in given.presets:
        cells, wrong = row(preset, given.jobs)
        _write(cells)  # at once: the next core may take an hour
        differ += wrong
    return int(differ > 0)


def _write(cells: list[str]) -> None:
    """Put a core's row into the page, where those of other cores stay."""
    before = markdown_rows(PAGE.read_text("utf-8")) if PAGE.exists() else []
    rows = {old[0]: old for old in (*before, cells)}
    table = markdown_table(COLUMNS, [rows[core] for core in sorted(rows)])
    write_atomic(PAGE, TEMPLATE.read_text("utf-8").replace("@TABLE@", table.strip()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
