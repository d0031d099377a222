# SPDX-License-Identifier: BSD-2-Clause
"""A memory around a unit that finishes a job, and what must lie in it afterwards."""

from __future__ import annotations

from collections.abc import Sequence

from litex.gen import LiteXModule
from litex.soc.interconnect.stream import Endpoint
from migen import If

from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.port import BlockMemory, ReadPort, write_layout

Token = dict[str, int]


class Surroundings(LiteXModule):
    """A small memory. Beats that are read come only with a token of ``pace``, so the bench counts them.

    Attributes
    ----------
    load : what the bench writes while the unit is idle.
    seen : what the unit writes.
    """

    def __init__(self, geometry: Geometry, beats: int, port: ReadPort, write: Endpoint) -> None:
        self.memory = memory = BlockMemory(geometry, beats)
        self.load = load = Endpoint(write_layout(geometry))
        self.seen = seen = Endpoint(write_layout(geometry))
        self.pace = pace = Endpoint([])

        # # #

        self.comb += [
            port.command.connect(memory.port.command),
            port.data.valid.eq(memory.port.data.valid & pace.valid),
            port.data.data.eq(memory.port.data.data),
            memory.port.data.ready.eq(port.data.ready & pace.valid),
            pace.ready.eq(port.data.ready & memory.port.data.valid),
            write.connect(seen),
            load.ready.eq(1),
            If(load.valid, load.connect(memory.port.write, omit={"ready"})).Else(
                write.connect(memory.port.write, omit={"valid", "ready"}),
                memory.port.write.valid.eq(write.valid & seen.ready),
            ),
        ]


def region(words: Sequence[int], word_bytes: int, beat_bytes: int, address: int) -> list[Token]:
    """Words, little-endian, padded with zeros to a beat; a burst a beat."""
    data = b"".join(word.to_bytes(word_bytes, "little") for word in words)
    data += bytes(-len(data) % beat_bytes)
    beats = [data[at : at + beat_bytes] for at in range(0, len(data), beat_bytes)]
    return [
        {
            "address": address + at,
            "data": int.from_bytes(beat, "little"),
            "first": 0,
            "last": 1,
        }
        for at, beat in enumerate(beats)
    ]


def beats_of(count: int, word_bytes: int, beat_bytes: int) -> int:
    """Beats that a region of words takes."""
    return -(-count * word_bytes // beat_bytes)
