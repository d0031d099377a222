# SPDX-License-Identifier: BSD-2-Clause
"""Who answers: identity, version, capability words, and the state in which a core must be found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from spatten_drivers.config import ABI_MAJOR, ABI_MINOR, PRESETS, AcceleratorConfig
from spatten_drivers.registers import IDENTITY_MAGIC, REGISTERS, identity_values

from ..errors import SelftestFault
from .bench import Bench
from .result import Finding

READINGS = 3  # of each word, which must be equal


def identity(bench: Bench) -> Finding:
    """Every read-only word of the identity, several times, against the configuration that is known."""
    device, config = bench.device, bench.device.config
    wanted = {
        "IDENTITY": IDENTITY_MAGIC,
        "ABI_MAJOR": ABI_MAJOR,
        **identity_values(config, device.memory_bytes),
    }
    words = [word for word in REGISTERS if any(field.name in wanted for field in word.fields)]
    found: dict[str, int] = {}
    for _ in range(READINGS):
        for word in words:
            for name, value in device.read_fields(word.name).items():
                _require_stable(name, found.setdefault(name, value), value)
        bench.step("identity")
    odd = {name: (found[name], value) for name, value in wanted.items() if found[name] != value}
    if odd:
        pairs = ", ".join(f"{name} reads {got:#x}, expected {value:#x}" for name, (got, value) in odd.items())
        raise SelftestFault(f"identity words do not fit the configuration {config.digest:016x}: {pairs}")
    return Finding(_text(bench), _figures(bench))


def idle(bench: Bench) -> Finding:
    """A core that nobody uses: no job, no error, memory ready."""
    status, error = bench.device.read_fields("STATUS"), bench.device.read_register("JOB_ERROR")
    wanted = {"IDLE": 1, "QUEUE_FULL": 0, "ERROR": 0, "DRAM_READY": 1, "QUEUE_LEVEL": 0}
    odd = [
        f"STATUS.{name} is {status[name]}, expected {v}" for name, v in wanted.items() if status[name] != v
    ]
    if error:
        odd.append(f"JOB_ERROR is {error}, expected 0")
    if odd:
        raise SelftestFault(f"the core is not idle though nothing was asked of it: {', '.join(odd)}")
    return Finding("idle, no error, memory ready", {"status": status})


def preset_of(config: AcceleratorConfig) -> str:
    """Name of the preset that it is, in whatever version of the contract, or ``no preset``."""
    newest = replace(config, abi_minor=ABI_MINOR)
    return next((name for name, preset in PRESETS.items() if preset == newest), "no preset")


def _require_stable(name: str, before: int, now: int) -> None:
    if before != now:
        raise SelftestFault(f"{name} read {before:#x} and then {now:#x}; it never changes")


def _text(bench: Bench) -> str:
    config = bench.device.config
    return (
        f"{preset_of(config)}, digest {config.digest:016x}, ABI {config.abi}, "
        f"{bench.device.memory_bytes >> 10:,} KiB"
    )


def _figures(bench: Bench) -> dict[str, Any]:
    config = bench.device.config
    return {
        "digest": f"{config.digest:016x}",
        "config": config.to_dict(),
        "abi": config.abi,
        "memory_bytes": bench.device.memory_bytes,
    }
