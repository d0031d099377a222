# SPDX-License-Identifier: BSD-2-Clause
"""Ports of a Verilog module, each with what a person who connects it must know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litex.soc.interconnect.stream import Endpoint
from migen import Signal


@dataclass(frozen=True)
class Port:
    """A port by the name it gets in Verilog; ``direction`` is ``input`` or ``output``."""

    name: str
    signal: Signal
    direction: str
    description: str

    def record(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {
            "name": self.name,
            "direction": self.direction,
            "width": len(self.signal),
            "description": self.description,
        }


def stream_ports(prefix: str, endpoint: Endpoint, *, into: bool, what: dict[str, str]) -> list[Port]:
    """Ports of a stream that goes into the module, or out of it.

    ``what`` describes the stream by its ``valid``, and the signals of its payload that become ports.
    """
    forth, back = ("input", "output") if into else ("output", "input")
    signals = [name for name in what if name != "valid"]
    return [
        Port(f"{prefix}valid", endpoint.valid, forth, what["valid"]),
        Port(f"{prefix}ready", endpoint.ready, back, "The word is taken at this edge if it is valid."),
        *[Port(f"{prefix}{name}", getattr(endpoint, name), forth, what[name]) for name in signals],
    ]
