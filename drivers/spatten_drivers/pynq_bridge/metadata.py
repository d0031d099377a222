# SPDX-License-Identifier: BSD-2-Clause
"""What ``pynq.Overlay`` learns from a ``.hwh`` file on a Zynq board, made from our own register table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..devices.base import Device
from ..overlay import describe_core

CORE, MEMORY = "spatten", "memory"

_ACCESS = {"ro": "read-only", "rw": "read-write", "wo": "write-only"}


@dataclass
class Metadata:
    """The attributes that PYNQ reads of a parsed bitstream; clocks, pins and interrupts there are none."""

    ip_dict: dict[str, Any]
    mem_dict: dict[str, Any]
    gpio_dict: dict[str, Any] = field(default_factory=dict)
    interrupt_pins: dict[str, Any] = field(default_factory=dict)
    interrupt_controllers: dict[str, Any] = field(default_factory=dict)
    hierarchy_dict: dict[str, Any] = field(default_factory=dict)
    clock_dict: dict[str, Any] = field(default_factory=dict)
    systemgraph: None = None


def describe(device: Device) -> Metadata:
    """The core as IP ``spatten``, device memory as memory ``memory``."""
    return Metadata({CORE: _core(device)}, {MEMORY: _memory(device)})


def _core(device: Device) -> dict[str, Any]:
    core = describe_core(device)
    return {
        "fullpath": CORE,
        "type": core["type"],
        "phys_addr": core["phys_addr"],
        "addr_range": core["addr_range"],
        "registers": {name: _register(register) for name, register in core["registers"].items()},
        "parameters": device.config.to_dict(),
        "gpio": {},
        "interrupts": {},
        "mem_id": MEMORY,
        "state": None,
        "device": None,  # PYNQ fills in both
        "driver": None,
    }


def _register(register: dict[str, Any]) -> dict[str, Any]:
    access = _ACCESS[register["access"]]
    fields = {name: {**entry, "access": access} for name, entry in register["fields"].items()}
    return {**register, "access": access, "fields": fields}


def _memory(device: Device) -> dict[str, Any]:
    return {
        "fullpath": MEMORY,
        "type": "DDR",
        "base_address": 0,
        "phys_addr": 0,
        "size": device.memory_bytes,
        "addr_range": device.memory_bytes,
        "used": 1,
        "streaming": False,
        "idx": 0,
        "mem_id": MEMORY,
        "state": None,
    }
