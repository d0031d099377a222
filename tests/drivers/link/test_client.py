# SPDX-License-Identifier: BSD-2-Clause
"""The client against the device in Python: what it gives back, and what it says when it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from spatten_drivers.errors import DeviceError, DeviceMemoryError
from spatten_drivers.link import (
    FaultRates,
    FaultyTransport,
    LinkBusyError,
    LinkClient,
    LinkError,
    LoopTransport,
    Packet,
    SessionLostError,
    Status,
    Transport,
)
from spatten_drivers.link.format import Operation, decode
from spatten_drivers.link.model import LinkDevice

from .exercise import COUNT, ERROR, MEMORY_BYTES, PUSH, SILENT, Exercise, Scratch

BEAT = 16
PEER = (0xC0A80105, 40123)


class Bench:
    """A device, and clients to it."""

    def __init__(self) -> None:
        self.bus = Scratch()
        self.device = LinkDevice(self.bus, np.zeros(MEMORY_BYTES, np.uint8), BEAT)
        self.requests: list[Packet] = []

    def handle(self, raw: bytes) -> list[bytes]:
        try:
            self.requests.append(decode(raw))
        except DeviceError:
            pass
        except ValueError:  # damaged
            pass
        return self.device.handle(raw, PEER)

    def transport(self, handle: Callable[[bytes], Iterable[bytes]] | None = None) -> Transport:
        return LoopTransport(handle or self.handle)

    def client(self, **options: Any) -> LinkClient:
        return LinkClient(self.transport(), **options)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def exercised(bench: Bench, rates: FaultRates, seed: int, transfers: int) -> LinkClient:
    """Random transfers under faults; whatever the device holds after them is as it must be."""
    faulty = FaultyTransport(bench.transport(), rates, seed)
    client = LinkClient(faulty)
    exercise = Exercise(client, seed, BEAT)
    exercise.run(transfers)
    assert exercise.transfers == transfers
    assert bench.bus.journal == exercise.journal
    assert bench.bus.reads == exercise.reads
    assert bench.bus.ram == exercise.ram.tolist()
    np.testing.assert_array_equal(bench.device.memory, exercise.memory)
    return client


def test_without_faults_no_packet_is_sent_twice(bench: Bench) -> None:
    client = exercised(bench, FaultRates(), 1, 400)
    assert client.packets_repeated == 0
    assert not client.packets_ignored


@pytest.mark.parametrize(
    "name", ["loss", "duplication", "delay", "swap", "bit_errors", "truncation", "noise"]
)
def test_each_fault_alone(bench: Bench, name: str) -> None:
    client = exercised(bench, FaultRates(**{name: 0.2}), 2, 300)
    assert client.packets_repeated or client.packets_ignored


@pytest.mark.parametrize("seed", range(4))
def test_all_faults_together(bench: Bench, seed: int) -> None:
    client = exercised(bench, FaultRates.all(0.05), seed, 700)
    assert client.packets_repeated > 100
    assert set(client.packets_ignored) >= {"damaged", "of another request"}


@pytest.mark.deep
def test_twenty_thousand_transfers(bench: Bench) -> None:
    exercised(bench, FaultRates.all(0.05), 9, 20_000)


def test_a_device_that_is_not_there() -> None:
    client = LinkClient(LoopTransport(lambda _: ()))
    with pytest.raises(
        LinkError, match=r"no answer to IDENTIFY at 0x0, sent \d+ times within 5 s; came: nothing"
    ):
        client.read(0, 1)


def test_a_line_that_gives_back_what_is_sent() -> None:
    """An answer is known from a request."""
    client = LinkClient(LoopTransport(lambda raw: [raw]))
    with pytest.raises(LinkError, match=r"came: .* that are no answers"):
        client.read(0, 1)


def test_a_device_that_answers_with_zeros() -> None:
    client = LinkClient(LoopTransport(lambda raw: [bytes(64)]))
    with pytest.raises(LinkError, match=r"came: .* damaged"):
        client.read(0, 1)


def test_the_line_breaks_after_the_write(bench: Bench) -> None:
    """It was executed once, and nobody knows; nothing of it is executed when the line works again."""
    broken = False
    kept: list[bytes] = []

    def handle(raw: bytes) -> list[bytes]:
        if broken:
            kept.append(raw)
        answers = bench.handle(raw)
        return [] if broken else answers

    client = LinkClient(LoopTransport(handle))
    client.write(PUSH, np.array([1], np.uint32))
    broken = True
    with pytest.raises(
        LinkError, match=r"no answer to WRITE at 0x1000.* Whether it was executed is not known"
    ):
        client.write(PUSH, np.array([2], np.uint32))
    broken = False
    assert len(kept) > 5
    client.write(PUSH, np.array([3], np.uint32))
    for raw in kept:
        handle(raw)
    assert bench.bus.journal == [1, 2, 3]


def test_all_that_was_ever_sent_comes_again(bench: Bench) -> None:
    """In order and out of order, in the session and after it: nothing of it is executed a second time."""
    client = bench.client()
    exercise = Exercise(client, 5, BEAT)
    exercise.run(200)
    for _ in range(2):
        before = (list(bench.bus.journal), bench.bus.reads, bench.device.memory.tobytes())
        for packet in bench.requests * 2 + bench.requests[::-1]:
            bench.device.handle(packet.encode(), PEER)
        assert before == (bench.bus.journal, bench.bus.reads, bench.device.memory.tobytes())
        client.open()
        bench.requests[:] = [p for p in bench.requests if p.session != client._session]


def test_a_second_program_is_told_who_is_there(bench: Bench) -> None:
    first = bench.client()
    first.read(0, 1)

    def handle(raw: bytes) -> list[bytes]:
        if decode(raw).operation == Operation.IDENTIFY:
            first.read(0, 1)  # alive
        return bench.handle(raw)

    second = LinkClient(LoopTransport(handle, "second"))
    with pytest.raises(
        LinkBusyError, match=r"second: in use by session [0-9a-f]{8} from 192\.168\.1\.5:40123"
    ):
        second.read(0, 1)
    first.close()
    bench.client().read(0, 1)


def test_a_program_that_was_killed_does_not_hold_the_device(bench: Bench) -> None:
    bench.client().read(0, 1)
    assert bench.client().read(COUNT, 1) == [0]


def test_a_session_that_was_taken_over_ends_with_an_error(bench: Bench) -> None:
    first, second = bench.client(), bench.client(take_over=True)
    first.write(PUSH, np.array([1], np.uint32))
    second.write(PUSH, np.array([2], np.uint32))
    with pytest.raises(SessionLostError, match="it was reset, or another program opened it"):
        first.write(PUSH, np.array([3], np.uint32))
    assert bench.bus.journal == [1, 2]


def test_a_reset_of_the_device_is_told(bench: Bench) -> None:
    client = bench.client()
    client.read(0, 1)
    bench.device.reset()
    with pytest.raises(SessionLostError, match="the device is in session 00000000"):
        client.read_block(0, 5008)
    assert client.read(COUNT, 1) == [0]


def test_errors_name_the_word(bench: Bench) -> None:
    client = bench.client()
    with pytest.raises(LinkError, match="READ at 0x2ffc: BUS_ERROR at 0x3000"):
        client.read(ERROR - 4, 2)
    with pytest.raises(LinkError, match="WRITE at 0x4000: BUS_TIMEOUT at 0x4000"):
        client.write(SILENT, np.zeros(1, np.uint32))
    with pytest.raises(LinkError, match="READ at 0x2: BAD_ADDRESS at 0x2"):
        client.read(2, 1)


@pytest.mark.parametrize(("address", "size"), [(8, 16), (0, 8), (MEMORY_BYTES, 16), (-16, 16)])
def test_blocks_are_whole_beats_in_memory(bench: Bench, address: int, size: int) -> None:
    with pytest.raises(DeviceMemoryError, match="expected whole beats of 16 bytes within 0x4000 bytes"):
        bench.client().read_block(address, size)


def test_after_ctrl_c_the_number_is_not_used_again(bench: Bench) -> None:
    stop = True

    def handle(raw: bytes) -> list[bytes]:
        answers = bench.handle(raw)
        if stop and decode(raw).operation == Operation.WRITE:
            raise KeyboardInterrupt
        return answers

    client = LinkClient(LoopTransport(handle))
    with pytest.raises(KeyboardInterrupt):
        client.write(PUSH, np.array([1], np.uint32))
    stop = False
    client.write(PUSH, np.array([2], np.uint32))
    assert bench.bus.journal == [1, 2]


def test_a_failure_in_a_window_ends_it(bench: Bench) -> None:
    """What was chained behind it is skipped, and the next call begins anew."""
    client = bench.client()
    client.identity  # noqa: B018  reading it opens the session
    bench.device.memory = bench.device.memory[: MEMORY_BYTES // 2]  # less than it says
    with pytest.raises(LinkError, match=r"BAD_ADDRESS|SKIPPED") as caught:
        client.write_block(MEMORY_BYTES // 2 - 1408, np.ones(1408 * 5, np.uint8))
    assert caught.value.address == MEMORY_BYTES // 2
    assert bench.device.memory[-1408:].all()
    client.write(PUSH, np.array([7], np.uint32))
    assert bench.bus.journal == [7]


def test_unknown_statuses_are_errors(bench: Bench) -> None:
    def handle(raw: bytes) -> list[bytes]:
        answers = [decode(answer) for answer in bench.handle(raw)]
        if decode(raw).operation == Operation.READ:
            answers = [Packet(4, a.session, a.sequence, 0, 0, b"", answer=True, status=77) for a in answers]
        return [answer.encode() for answer in answers]

    with pytest.raises(LinkError, match=r"status 77 at 0x0. The device speaks another version"):
        LinkClient(LoopTransport(handle)).read(0, 1)


def test_statuses_have_their_numbers() -> None:
    assert [int(s) for s in Status] == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10]
