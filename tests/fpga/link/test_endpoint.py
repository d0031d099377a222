# SPDX-License-Identifier: BSD-2-Clause
"""The link in gateware: it answers every packet as the model does, and loses nothing when the line does."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from spatten_drivers.fields import unpack
from spatten_drivers.link import FaultRates, FaultyTransport, LinkClient, LinkError, Packet, Status
from spatten_drivers.link.format import IDENTITY, LONGEST, Operation, decode
from spatten_drivers.link.model import LinkDevice
from tests.drivers.link.exercise import COUNT, ERROR, MEMORY_BYTES, PUSH, SILENT, Exercise, Scratch

from .board import PEER, BoardTransport, board_bench
from .figures import measure

BEAT = 16


def exercised(
    rates: FaultRates, seed: int, transfers: int, pace: float = 1.0, beat: int = BEAT
) -> LinkClient:
    """Random transfers through faults; bus and memory hold what they must after them."""
    board = BoardTransport(beat, seed, pace)
    client = LinkClient(FaultyTransport(board, rates, seed))
    exercise = Exercise(client, seed, beat, largest=(40, 2))
    client.write(0, exercise.ram)
    client.write_block(0, exercise.memory)
    exercise.run(transfers)
    assert exercise.transfers == transfers
    assert board.journal == exercise.journal
    assert board.bench.get("reads") == exercise.reads
    clean = LinkClient(board, take_over=True)
    np.testing.assert_array_equal(clean.read_block(0, MEMORY_BYTES), exercise.memory)
    np.testing.assert_array_equal(clean.read(0, 1024), exercise.ram)
    return client


def test_without_faults_no_packet_is_sent_twice() -> None:
    client = exercised(FaultRates(), 1, 150)
    assert client.packets_repeated == 0
    assert not client.packets_ignored


@pytest.mark.parametrize("seed", range(3))
def test_all_faults_together(seed: int) -> None:
    """Thousands of transfers, each fault in a twentieth of the packets of each direction."""
    client = exercised(FaultRates.all(0.05), seed, 400, 1.0 if seed % 2 else 0.7)
    assert client.packets_repeated > 150


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(100, 112))
def test_twelve_thousand_transfers(seed: int) -> None:
    exercised(FaultRates.all(0.05), seed, 1000, 1.0 if seed % 2 else 0.7)


@pytest.mark.deep
@pytest.mark.parametrize("beat", [4, 64])
def test_beats_of_other_widths(beat: int) -> None:
    exercised(FaultRates.all(0.02), 6, 300, 0.8, beat)


def test_the_gateware_carries_more_than_two_bytes_a_cycle() -> None:
    """On-chip memory; ``python -m tests.fpga.link.figures`` measures the board's too."""
    found = measure(board_bench(BEAT), {})
    assert found["upload_bytes_per_cycle"] > 3.5
    assert found["download_bytes_per_cycle"] > 3.5


# Against the model --------------------------------------------------------------------------------


class Twins:
    """Gateware and model, which get the same packets."""

    def __init__(self, seed: int) -> None:
        self.board = BoardTransport(BEAT, seed)
        self.scratch = Scratch()
        self.ticket = 0
        self.last: tuple[int, bytes] = (-1, b"")  # the number that was executed last, and its packet
        memory = np.zeros(MEMORY_BYTES, np.uint8)
        self.model = LinkDevice(self.scratch, memory, BEAT, lambda: self.ticket)
        client = LinkClient(self.board)
        client.write(0, np.zeros(1024, np.uint32))
        client.write_block(0, memory)
        self.board.bench.reset()
        self.board.journal.clear()

    def both(self, raw: bytes) -> Packet | None:
        """Their answer, which is the same."""
        self.board.send(raw)
        answer = self.board.receive(0)
        if answer and decode(answer).operation == Operation.IDENTIFY and decode(answer).payload:
            self.ticket = unpack(IDENTITY, np.frombuffer(decode(answer).payload, "<u4"))["TICKET"]
        told = self.model.handle(raw, (PEER >> 16, PEER & 0xFFFF))
        if self.model.last != self.last[0]:
            self.last = (self.model.last, raw)
        assert told == ([answer] if answer else [])
        return decode(answer) if answer else None


def anything(rng: random.Random, last: int, session: int, ticket: int) -> Packet:
    """A packet of any kind; often the one that comes next."""
    operation = rng.choice([*Operation, 4, 5, 6, 7, 4, 5, 6, 7, rng.randrange(16)])
    count = rng.choice((0, 1, 1, 2, 4, 4, 8, 20, 352, 353))
    words = count if operation in (5, 7) else 0
    if rng.random() < 0.05:
        words += 1
    if operation < 3:
        count = rng.choice((0, 0, 0, 0, 1))
    sequence = last + rng.choice((1, 1, 1, 1, 1, 1, -1, 2, 5, 1 << 31, rng.getrandbits(32)))
    place = rng.choice(
        (0, 16 * rng.randrange(64), 4 * rng.randrange(64), MEMORY_BYTES - 16, rng.getrandbits(32))
    )
    if operation in (4, 5):
        place = rng.choice(
            (4 * rng.randrange(600), PUSH, PUSH, COUNT, COUNT - 8, ERROR, ERROR - 4, SILENT, 2)
        )
    return Packet(
        operation,
        session if rng.random() < 0.95 else rng.choice((0, rng.getrandbits(32))),
        sequence % (1 << 32),
        ticket if operation == 1 else place,
        count,
        rng.randbytes(4 * words),
        chained=rng.random() < 0.3,
        answer=rng.random() < 0.02,
        status=rng.choice((0, 0, 7)),
    )


@pytest.mark.parametrize("seed", range(2))
def test_every_packet_is_answered_as_by_the_model(seed: int) -> None:
    """Any operation, session, number, count and address; late, early, repeated, chained."""
    twins, rng = Twins(seed), random.Random(seed)
    statuses: dict[int, int] = {}
    silent = 0
    for _ in range(400):
        session = twins.model.session
        if not session or rng.random() < 0.03:
            session = rng.getrandbits(32) | 1
            twins.both(Packet(Operation.IDENTIFY, 5, 6).encode())
            ticket = twins.ticket if rng.random() < 0.8 else 77
            last = rng.choice((0, 0xFFFFFFFC, rng.getrandbits(32)))
            raw = Packet(Operation.OPEN, session, last, ticket).encode()
        elif rng.random() < 0.15:
            raw = twins.last[1]
        else:
            raw = anything(rng, twins.model.last, session, twins.ticket).encode()
            if rng.random() < 0.03:
                raw = raw[:-4] + rng.randbytes(4)
        answer = twins.both(raw)
        if answer is None:
            silent += 1
        else:
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
    twins.board.send(Packet(Operation.IDENTIFY, 1, 1).encode())
    assert twins.board.journal == twins.scratch.journal
    assert twins.board.bench.get("reads") == twins.scratch.reads
    assert silent > 20
    assert set(statuses) == set(Status) - {Status.MEMORY_ERROR}


def test_another_request_under_the_last_number_executes_nothing() -> None:
    """No client may do that; the device must neither hang nor write."""
    twins, rng = Twins(9), random.Random(9)
    twins.both(Packet(Operation.IDENTIFY, 5, 6).encode())
    twins.both(Packet(Operation.OPEN, 3, 9, twins.ticket).encode())
    twins.both(Packet(Operation.READ, 3, 10, 0, 4).encode())
    for _ in range(200):
        request = replace(anything(rng, 0, 3, 0), sequence=10, session=3, answer=False)
        twins.board.send(request.encode())
        answer = twins.board.receive(0)
        assert (answer is None) == (len(request.encode()) > LONGEST)
    assert not twins.board.journal
    memory = LinkClient(twins.board, take_over=True).read_block(0, MEMORY_BYTES)
    assert not memory.any()


# What the model has not ---------------------------------------------------------------------------


def test_an_error_of_the_memory_is_told_and_nothing_is_read() -> None:
    board = BoardTransport(BEAT)
    client = LinkClient(board)
    client.write_block(0, np.ones(64, np.uint8))
    board.bench.set("fault", 1)
    with pytest.raises(LinkError, match="READ_BLOCK at 0x0: MEMORY_ERROR"):
        client.read_block(0, 64)
    with pytest.raises(LinkError, match="WRITE_BLOCK at 0x0: MEMORY_ERROR"):
        client.write_block(0, np.zeros(64, np.uint8))
    board.bench.set("fault", 0)
    assert not client.read_block(0, 64).any()


def test_two_tickets_differ() -> None:
    """So a packet that was recorded opens nothing."""
    board = BoardTransport(BEAT)
    first = LinkClient(board)
    ticket = first.identify().ticket
    assert first.identify().ticket == ticket
    recorded = Packet(Operation.OPEN, 5, 0, ticket).encode()
    board.send(recorded)
    assert decode(board.receive(0) or b"").status == Status.OK
    LinkClient(board, take_over=True).open()
    assert first.identify().ticket != ticket
    board.send(recorded)
    assert decode(board.receive(0) or b"").status == Status.WRONG_TICKET
