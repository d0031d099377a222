# SPDX-License-Identifier: BSD-2-Clause
"""A folder as a board's build leaves it, with files that stand for the real ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from spatten_drivers import PRESETS

FILES = {
    "spatten.bit": b"\xff\x00Part: LFE5U-25F-6CABGA381\x00\xe2\0\0\0\x41\x11\x10\x43" + bytes(range(256)),
    "spatten.svf.gz": b"\x1f\x8b not really",
    "csr.json": b"{}\n",  # with what the manifest says: csr_of
    "config.yml": b"memory: 8MiB\n",
}


def record(preset: str = "ecp5-25f", board: str = "colorlight_i5", **changes: Any) -> dict[str, Any]:
    """A manifest without its files."""
    config = PRESETS[preset]
    whole = {
        "schema": 1,
        "board": board,
        "device": "LFE5U-25F-6BG381C",
        "idcode": "0x41111043",
        "preset": preset,
        "config": config.to_dict(),
        "config_digest": f"{config.digest:016x}",
        "abi": config.abi,
        "clock_hz": 60_000_000,
        "memory_bytes": 8 << 20,
        "dram": "M12L64322A",
        "links": ["spl-udp", "uart"],
        "files": {},
        "verilog_sha256": "0" * 64,
        "registers_checked": None,
        "clocks": {"sys": {"asked_mhz": 60.0, "reached_mhz": 71.3, "margin": 0.188}},
        "utilisation": {"TRELLIS_COMB": [15000, 24288], "DP16KD": [40, 56], "MULT18X18D": [20, 28]},
        "seed": 1,
        "seeds": {"1": 71.3, "2": 68.0},
        "tools": {"yosys": "0.69"},
        "source_commit": "0123456789" * 4,
        "date": "2026-11-28T01:12:09+00:00",
        "rebuild": f"python3 -m spatten_fpga.targets.{board} --build --seed 1",
    }
    return whole | changes


def csr_of(manifest: dict[str, Any]) -> bytes:
    """What LiteX writes as the system's csr.json, as far as a manifest says the same."""
    identifier = f"spatten, abi {manifest['abi']}, configuration {manifest['config_digest']}"
    found = {
        "csr_registers": {},
        "csr_bases": {},
        "constants": {
            "config_clock_frequency": manifest["clock_hz"],
            "config_identifier": identifier,
        },
        "memories": {"main_ram": {"base": 0x4000_0000, "size": manifest["memory_bytes"], "type": "cached"}},
    }
    return json.dumps(found).encode()


def write_folder(folder: Path, files: dict[str, bytes] | None = None, **changes: Any) -> Path:
    """Files and their manifest; ``changes`` replace fields of it."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = record(**changes)
    contents = FILES | {"csr.json": csr_of(manifest)} | (files or {})
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in contents.items()
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    return folder


def change(folder: Path, **fields: Any) -> Path:
    """Put other values into fields of a manifest."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | fields), "utf-8")
    return folder
