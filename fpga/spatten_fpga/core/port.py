# SPDX-License-Identifier: BSD-2-Clause
"""The one port behind which a LiteDRAM port, an AXI port or a test memory stands, and its arbiters.

Addresses count beats. A fence is nothing but waiting: once ``writes_pending`` is 0, every write accepted so
far is seen by every later read.
"""

from __future__ import annotations

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *
from migen.genlib.roundrobin import SP_CE, RoundRobin

from .geometry import Geometry

ADDRESS_BITS = 32  # byte addresses of the contract


def beat_shift(geometry: Geometry) -> int:
    """Byte address to beat address."""
    return log2_int(geometry.config.beat_bytes)


def address_bits(geometry: Geometry) -> int:
    """Width of a beat address."""
    return ADDRESS_BITS - beat_shift(geometry)


def command_layout(geometry: Geometry) -> list:
    """A request to read one beat."""
    return [("address", address_bits(geometry))]


def data_layout(geometry: Geometry) -> list:
    """A beat that was read."""
    return [("data", geometry.beat_bits)]


def write_layout(geometry: Geometry) -> list:
    """A whole beat to write; ``last`` ends a burst, which arbiters keep together."""
    return [("address", address_bits(geometry)), ("data", geometry.beat_bits)]


# Ports --------------------------------------------------------------------------------------------


class ReadPort:
    """Reads of one client: a beat for each command, in order.

    Attributes
    ----------
    command : Endpoint, of :func:`command_layout`, out of the client.
    data : Endpoint, of :func:`data_layout`, into the client.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.command = stream.Endpoint(command_layout(geometry))
        self.data = stream.Endpoint(data_layout(geometry))


class MemoryPort(ReadPort):
    """All that the core asks of device memory.

    Attributes
    ----------
    command, data : as in :class:`ReadPort`; the core may let data wait.
    write : Endpoint, of :func:`write_layout`, out of the core.
    writes_pending : Signal, into the core: an accepted write may not be visible to a read yet. It is 1 from
        the cycle after the write was accepted on.
    fault : Signal, into the core: the memory reported an error; a pulse.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(geometry)
        self.write = stream.Endpoint(write_layout(geometry))
        self.writes_pending = Signal()
        self.fault = Signal()


# Arbiters -----------------------------------------------------------------------------------------


class ReadArbiter(LiteXModule):
    """Shares the read streams of a port; data finds its client through a FIFO of client numbers.

    The client of the lowest number goes first. Commands pass in one cycle, one a cycle; data passes at once,
    two cycles behind its command at the soonest. A client that lets its data wait holds up the others, so it
    asks for no more than it has room for.

    Parameters
    ----------
    geometry : sizes of the core.
    clients : number of clients.
    outstanding : most beats that are asked for and not delivered.

    Attributes
    ----------
    clients : list of ReadPort, as each client drives it.
    port : ReadPort, towards memory.
    """

    def __init__(self, geometry: Geometry, clients: int, outstanding: int = 64) -> None:
        self.clients = [ReadPort(geometry) for _ in range(clients)]
        self.port = port = ReadPort(geometry)

        # # #

        self.buffer = buffer = stream.Buffer(command_layout(geometry))
        self.tags = tags = stream.SyncFIFO([("client", max(1, log2_int(clients, False)))], outstanding - 1)
        self.turn = turn = stream.Buffer([("mine", clients)])  # much hangs on whose data it is: a register

        # Commands ---------------------------------------------------------------------------------
        taken = 0
        for number, client in enumerate(self.clients):
            command = client.command
            granted = Signal()
            self.comb += [
                granted.eq(command.valid & ~taken),
                command.ready.eq(~taken & buffer.sink.ready & tags.sink.ready),
                If(granted, buffer.sink.address.eq(command.address), tags.sink.client.eq(number)),
            ]
            taken = taken | command.valid
        self.comb += [
            buffer.sink.valid.eq(taken & tags.sink.ready),
            tags.sink.valid.eq(taken & buffer.sink.ready),
            buffer.source.connect(port.command),
        ]

        # Data -------------------------------------------------------------------------------------
        for number, client in enumerate(self.clients):
            mine = Signal()
            self.comb += [
                mine.eq(turn.source.valid & turn.source.mine[number]),
                client.data.valid.eq(port.data.valid & mine),
                client.data.data.eq(port.data.data),
                If(mine, port.data.ready.eq(client.data.ready)),
            ]
        self.comb += [
            tags.source.connect(turn.sink, omit={"client"}),
            *(turn.sink.mine[n].eq(tags.source.client == n) for n in range(clients)),
            turn.source.ready.eq(port.data.valid & port.data.ready),
        ]


class WriteArbiter(LiteXModule):
    """Shares the write stream of a port: round robin, a whole burst at a time.

    A beat passes in one cycle, one a cycle; turning to a client that did not write before takes a cycle more.

    Parameters
    ----------
    geometry : sizes of the core.
    clients : number of clients.

    Attributes
    ----------
    sinks : list of Endpoint, in, of :func:`write_layout`.
    source : Endpoint, out, towards memory.
    port_pending : Signal, in: ``writes_pending`` of the port.
    writes_pending : Signal, out: the same, with what is still in here.
    """

    def __init__(self, geometry: Geometry, clients: int) -> None:
        self.sinks = [stream.Endpoint(write_layout(geometry)) for _ in range(clients)]
        self.source = stream.Endpoint(write_layout(geometry))
        self.port_pending = Signal()
        self.writes_pending = Signal()

        # # #

        self.buffer = buffer = stream.Buffer(write_layout(geometry), pipe_ready=True)
        self.turns = turns = RoundRobin(clients, SP_CE)
        inside = Signal()  # between the first and the last beat of a burst
        moved = Signal()

        self.comb += [
            turns.request.eq(Cat(*(sink.valid for sink in self.sinks))),
            Case(turns.grant, {n: sink.connect(buffer.sink) for n, sink in enumerate(self.sinks)}),
            moved.eq(buffer.sink.valid & buffer.sink.ready),
            turns.ce.eq(Mux(buffer.sink.valid, moved & buffer.sink.last, ~inside)),
            buffer.source.connect(self.source),
            self.writes_pending.eq(buffer.source.valid | self.port_pending),
        ]
        self.sync += If(moved, inside.eq(~buffer.sink.last))


# Block memory -------------------------------------------------------------------------------------


class BlockMemory(LiteXModule):
    """A :class:`MemoryPort` onto on-chip memory: a small device memory for benches and tests.

    One read and one write a cycle. A write is visible to commands taken from the second cycle after it on.

    Parameters
    ----------
    geometry : sizes of the core.
    beats : size, a power of two; addresses wrap at it.
    latency : cycles from a command to its data, 3 or more.

    Attributes
    ----------
    port : MemoryPort, as the core drives it.
    """

    def __init__(self, geometry: Geometry, beats: int, latency: int = 8) -> None:
        self.port = port = MemoryPort(geometry)

        # # #

        memory = Memory(geometry.beat_bits, beats)
        reader = memory.get_port(has_re=True, mode=READ_FIRST)
        writer = memory.get_port(write_capable=True, mode=READ_FIRST)
        self.specials += memory, reader, writer
        depth = 2 * latency
        self.fifo = fifo = stream.SyncFIFO(data_layout(geometry), depth)
        self.delay = delay = stream.Delay(data_layout(geometry), latency - 2)

        # Reads: a command is taken if the FIFO will have room for its data ------------------------
        room = Signal(max=depth + 1, reset=depth)
        taken = Signal()
        read = Signal()
        self.comb += [
            port.command.ready.eq(room != 0),
            taken.eq(port.command.valid & port.command.ready),
            reader.adr.eq(port.command.address),
            reader.re.eq(taken),
            fifo.sink.data.eq(reader.dat_r),
            fifo.sink.valid.eq(read),
            fifo.source.connect(delay.sink),
            delay.source.connect(port.data),
        ]
        self.sync += [read.eq(taken), room.eq(room - taken + (fifo.source.valid & fifo.source.ready))]

        # Writes -----------------------------------------------------------------------------------
        self.comb += [
            port.write.ready.eq(1),
            writer.adr.eq(port.write.address),
            writer.dat_w.eq(port.write.data),
            writer.we.eq(port.write.valid),
        ]
        self.sync += port.writes_pending.eq(port.write.valid)
