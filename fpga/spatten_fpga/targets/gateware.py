# SPDX-License-Identifier: BSD-2-Clause
"""A board's system as files: Verilog and pins for the tools, maps for drivers and LiteX's tools."""

from __future__ import annotations

import json
import logging
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from litex.build.lattice.trellis import LatticeTrellisToolchain
from litex.soc.integration.builder import Builder
from litex.soc.integration.export import get_csr_csv
from migen import ClockDomain

from spatten_drivers.errors import ConfigError
from spatten_fpga.soc.analyzer import CSV as ANALYZER
from spatten_fpga.soc.analyzer import analyzer_csv
from spatten_fpga.soc.bios import run_builder
from spatten_fpga.soc.dram_json import dram_record

from .board import Board
from .system import BoardSoc, Choice

NAME = "spatten"  # of the top module and of all files that belong to it


@dataclass(frozen=True)
class Gateware:
    """What the tools are given, all of it in one folder and without a word about where that is.

    Attributes
    ----------
    folder : of Verilog, pins and what memories hold at first.
    sources : Verilog files by their names there, the top's last.
    options : of nextpnr-ecp5: chip, package, speed grade.
    domains : signal of each clock domain, by the domain's name.
    frequencies : MHz that each clock domain is to reach, as far as the system knows.
    """

    folder: Path
    sources: tuple[str, ...]
    options: tuple[str, ...]
    domains: dict[str, str]
    frequencies: dict[str, float]


def write_gateware(board: Board, choice: Choice, output: Path) -> tuple[BoardSoc, Gateware]:
    """Elaborate a board's system and write its files.

    In ``output``: ``csr.json``, ``csr.csv``, ``config.yml``, ``dram.json`` if a host must make memory ready,
    ``analyzer.csv`` if there is an analyzer, ``gateware/``, and LiteX's headers in ``software/``. The same
    choice gives the same Verilog and pins.

    Raises
    ------
    ConfigError : something was chosen that the board does not have.
    ToolError : it has a processor, and its BIOS cannot be compiled.
    """
    logging.disable(logging.INFO)  # LiteX tells a page of what it does
    soc = BoardSoc(board, choice)
    has_cpu = soc.cpu_type is not None
    gateware = output / "gateware"
    for path in [*gateware.glob("*.v"), *gateware.glob("*.init"), *gateware.glob("*.lpf")]:
        path.unlink()
    builder = Builder(
        soc,
        output_dir=str(output),
        compile_software=has_cpu,
        compile_gateware=False,
        csr_json=str(output / "csr.json"),
    )
    options = {"build_name": NAME}
    names = run_builder(builder, output, **options) if has_cpu else builder.build(**options)
    (output / "csr.csv").write_text(_map_for_litex(soc), "utf-8")
    (output / "config.yml").write_text(_config(soc), "utf-8")
    _write_dram(soc, output, has_cpu)
    _write_analyzer(soc, output)
    sources = _gather(soc, gateware)
    chain = soc.platform.toolchain
    domains = {domain.name: names.get_name(domain.clk) for domain in _domains(soc)}
    return soc, Gateware(gateware, sources, _device(chain), domains, {"sys": soc.sys_clk_freq / 1e6})


def _config(soc: BoardSoc) -> str:
    """What :mod:`spatten_fpga.gen` builds the same core from."""
    record = {"memory": f"{soc.memory_bytes >> 20}MiB", "config": soc.core_config.to_dict()}
    return yaml.safe_dump(record, sort_keys=False, default_flow_style=None)


def _map_for_litex(soc: BoardSoc) -> str:
    """What litex_cli and litex_server read, without LiteX's head, which has a date."""
    text = get_csr_csv(soc.csr_regions, soc.constants, soc.mem_regions)
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def _write_dram(soc: BoardSoc, output: Path, has_cpu: bool) -> None:
    path = output / "dram.json"
    path.unlink(missing_ok=True)
    settings = soc.sdram.controller.settings
    try:
        record = dram_record(settings.phy, settings.timing, soc.sys_clk_freq)
    except ConfigError:
        if has_cpu:
            return
        raise
    path.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


def _write_analyzer(soc: BoardSoc, output: Path) -> None:
    path = output / ANALYZER
    path.unlink(missing_ok=True)
    if hasattr(soc, "analyzer"):
        path.write_text(analyzer_csv(soc), "utf-8")


def _gather(soc: BoardSoc, folder: Path) -> tuple[str, ...]:
    """Bring all Verilog into the folder without LiteX's remarks; names of the files, the top's last.

    These have a date, and a tree of modules in which instances stand in another order every time.

    yosys names cells after files, and nextpnr places by names: so no file may be known by where it lies.
    """
    top = f"{NAME}.v"
    text = re.sub(r"/\*.*?\*/", "", (folder / top).read_text("utf-8"), flags=re.DOTALL)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("//")]
    (folder / top).write_text("\n".join(lines) + "\n", "utf-8")
    others = []
    for path, language, *_ in soc.platform.sources:
        if language in ("verilog", "systemverilog") and Path(path).name != top:
            shutil.copy(path, folder)
            others.append(Path(path).name)
    for place in soc.platform.verilog_include_paths:
        for path in Path(place).glob("*.v*"):
            shutil.copy(path, folder)
    for script in (f"build_{NAME}.sh", f"{NAME}.ys"):  # LiteX's, with paths of this machine
        (folder / script).unlink(missing_ok=True)
    return (*others, top)


def _domains(soc: BoardSoc) -> list[ClockDomain]:
    """The system's own first, as another may be the same clock."""
    found = soc.platform.toolchain.fragment.clock_domains
    return sorted(found, key=lambda domain: (domain.name != "sys", domain.name))


def _device(chain: LatticeTrellisToolchain) -> tuple[str, ...]:
    return (f"--{chain._architecture}", "--package", chain._package, "--speed", chain._speed_grade)


def device_record(soc: BoardSoc) -> dict[str, Any]:
    """Name and idcode of the chip, as a manifest has them."""
    device = soc.platform.device
    family, size = device.split("-")[:2]
    return {"device": device, "idcode": IDCODES[family, size]}


#: What the chip answers over JTAG. Source: Project Trellis' database, devices.json.
IDCODES = {
    ("LFE5U", "25F"): "0x41111043",
    ("LFE5U", "45F"): "0x41112043",
    ("LFE5U", "85F"): "0x41113043",
    ("LFE5UM5G", "25F"): "0x81111043",
    ("LFE5UM5G", "45F"): "0x81112043",
    ("LFE5UM5G", "85F"): "0x81113043",
}
