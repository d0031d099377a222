# SPDX-License-Identifier: BSD-2-Clause
"""The link between a line and the device: streams of packets on one side, bus and memory on the other."""

from __future__ import annotations

from dataclasses import dataclass

from litex.gen import *
from litex.soc.interconnect import stream

from spatten_fpga.core.geometry import Geometry

from .checker import PacketChecker
from .executor import Executor
from .layouts import packet_layout, whole_layout
from .store import PacketStore


@dataclass(frozen=True)
class LinkSettings:
    """What a link is built for.

    Attributes
    ----------
    memory_bytes : of device memory that blocks may reach, less than 2^32.
    bus_timeout : cycles until an access of the bus has failed; less than the bus's own.
    store_words : of the ring of requests and of that of answers, a power of two: two of the longest packets
        at least, so that one comes while another is executed.
    store_packets : most packets in each.
    """

    memory_bytes: int
    bus_timeout: int = 1 << 11
    store_words: int = 1024
    store_packets: int = 16


class LinkEndpoint(LiteXModule):
    """Checks, stores, executes and answers requests: ``docs/link.md``.

    Parameters
    ----------
    geometry : of the core, whose beat the memory port has.
    settings : of the link.

    Attributes
    ----------
    sink : Endpoint, in, of :func:`.packet_layout`: from the line.
    source : Endpoint, out, of :func:`.whole_layout`: whole answers to the line, at the line's pace.
    bus : wishbone.Interface, master, word addresses.
    port : MemoryPort, out: whole beats of device memory from address 0 on.
    """

    def __init__(self, geometry: Geometry, settings: LinkSettings) -> None:
        self.sink = stream.Endpoint(packet_layout())
        self.source = stream.Endpoint(whole_layout())
        self.checker = checker = PacketChecker()
        self.requests = requests = PacketStore(settings.store_words, settings.store_packets)
        self.executor = executor = Executor(geometry, settings.memory_bytes, settings.bus_timeout)
        self.answers = answers = PacketStore(settings.store_words, settings.store_packets)
        self.bus = executor.bus
        self.port = executor.port

        # # #

        self.comb += [
            self.sink.connect(checker.sink),
            checker.source.connect(requests.sink),
            requests.source.connect(executor.sink),
            executor.damaged.eq(checker.damaged),
            executor.source.connect(answers.sink),
            answers.source.connect(self.source),
        ]
