# SPDX-License-Identifier: BSD-2-Clause
"""The files of a standalone core: Verilog, register map, manifest. The same options give the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from litex.gen.fhdl.verilog import convert
from litex.soc.integration.export import get_csr_json
from litex.soc.integration.soc import SoCCSRRegion

from spatten_drivers.errors import OperandError
from spatten_drivers.registers import REGISTERS

from .bus import ADDRESS_BITS, DATA_BITS
from .options import Options
from .ports import Port
from .top import Standalone

TOOLS = ("spatten", "migen", "litex")
PREFIX = "spatten"  # of the registers, as in a LiteX system


def generate(options: Options, command: str = "") -> dict[str, str]:
    """Text of every file by its name; nothing is written.

    Parameters
    ----------
    options : what to build.
    command : that makes the same again, for the manifest.
    """
    top = Standalone(options)
    registers = _register_map(top)
    verilog = _verilog(top, options)
    files = {f"{options.name}.v": verilog, "csr.json": registers}
    manifest = _manifest(options, top.ports, json.loads(registers), files, command)
    return {**files, "manifest.json": json.dumps(manifest, indent=4) + "\n"}


def _register_map(top: Standalone) -> str:
    """LiteX's own export, so that its tools read it too."""
    constants = {"CONFIG_CSR_DATA_WIDTH": DATA_BITS, "CONFIG_CSR_ALIGNMENT": DATA_BITS}
    regions = {PREFIX: SoCCSRRegion(origin=0, busword=DATA_BITS, obj=top.spatten.get_csrs())}
    return str(get_csr_json(regions, constants)) + "\n"


def _verilog(top: Standalone, options: Options) -> str:
    text = str(convert(top, {port.signal for port in top.ports}, name=options.name))
    lines = [line for line in text.splitlines() if line and not line.startswith("//")]  # a date, among others
    config = options.config
    head = (
        f"// SpAtten attention core, configuration {config.digest:016x}, ABI {config.abi}.",
        f"// {json.dumps(config.to_dict())}",
        "// Made by spatten_fpga.gen; ports and registers are described in manifest.json.",
        "// SPDX-License-Identifier: BSD-2-Clause",
    )
    return "\n".join([*head, *lines]).rstrip() + "\n"


def _manifest(
    options: Options,
    ports: Sequence[Port],
    csr: Mapping[str, Any],
    files: Mapping[str, str],
    command: str,
) -> dict[str, Any]:
    config, widths = options.config, {port.name: len(port.signal) for port in ports}
    addresses = {word.name: f"{PREFIX}_{word.name.lower()}" for word in REGISTERS}
    return {
        "name": options.name,
        "abi": config.abi,
        "config_digest": f"{config.digest:016x}",
        "config": config.to_dict(),
        "memory_bytes": options.memory_bytes,
        "register_bus": {"kind": options.bus, "data_bits": DATA_BITS, "address_bits": ADDRESS_BITS},
        "registers": {name: csr["csr_registers"][key]["addr"] for name, key in addresses.items()},
        "memory_port": {
            "data_bits": widths["mem_data_data"],
            "address_bits": widths["mem_command_address"],
            "address_unit_bytes": config.beat_bytes,
        },
        "ports": [port.record() for port in ports],
        "sha256": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()},
        "tools": {name: metadata.version(name) for name in TOOLS},
        "command": command,
    }


def write_files(files: Mapping[str, str], folder: Path) -> list[Path]:
    """Write all files or none: each goes beside its place first, then all are renamed.

    Raises
    ------
    OperandError : a place cannot be written to; files of an earlier run are as they were.
    """
    places = {folder / name: folder / f".{name}.{os.getpid()}" for name in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place, beside in places.items():
            if place.is_dir():
                raise OperandError(f"{place}: cannot be written: Is a directory")
            beside.write_text(files[place.name], "utf-8")
        for place, beside in places.items():
            beside.replace(place)
    except OSError as error:
        raise OperandError(f"{folder}: cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):  # where the folder is none, there is nothing to clear away
            for beside in places.values():
                beside.unlink(missing_ok=True)
    return list(places)
