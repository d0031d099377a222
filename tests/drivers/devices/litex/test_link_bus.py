# SPDX-License-Identifier: BSD-2-Clause
"""Memory in blocks and errors of the link SpL, with the device's end in Python."""

from __future__ import annotations

import json
import os
import threading
import tty
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from spatten_drivers import Emulator, open_device
from spatten_drivers.devices.litex import LitexDevice
from spatten_drivers.devices.litex.link_bus import LinkBus
from spatten_drivers.errors import DeviceBusyError, DeviceError
from spatten_drivers.link import (
    FaultRates,
    FaultyTransport,
    LinkClient,
    LinkError,
    LoopTransport,
    SessionLostError,
)
from spatten_drivers.link.format import LONGEST
from spatten_drivers.link.model import LinkDevice
from spatten_drivers.link.slip import Deframer, frame
from spatten_drivers.registers import IDENTITY_MAGIC
from tests.drivers.devices.litex.board import CORE, Board
from tests.drivers.devices.litex.bridges import RAM
from tests.drivers.devices.litex.test_device import jobs, same
from tests.drivers.devices.litex.test_sockets import LinkBoard

MEMORY = 1 << 16
BEAT = 32


class Bench:
    """A board behind the link; ``switched_on`` is set to False to silence it."""

    def __init__(self, beat: int = BEAT) -> None:
        self.board = Board(Emulator(memory_bytes=MEMORY, kernel="numpy"))
        self.link = LinkDevice(LinkBoard(self.board), self.board.emulator._memory, beat)
        self.switched_on = True

    def handle(self, packet: bytes) -> Iterable[bytes]:
        return self.link.handle(packet) if self.switched_on else []

    def client(self) -> LinkClient:
        return LinkClient(LoopTransport(self.handle))

    def bus(self, client: LinkClient | None = None) -> LinkBus:
        return LinkBus(client or self.client(), range(RAM, RAM + MEMORY))

    def device(self, bus: LinkBus) -> LitexDevice:
        return LitexDevice(bus, self.board.csr_map, name="mock board")


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("beat", [16, 32, 0])
def test_memory_at_any_place_of_any_size(beat: int) -> None:
    """Bytes, words and beats at both ends; nothing beside them changes. A beat of 0: no blocks."""
    bench = Bench(beat)
    device, rng = bench.device(bench.bus()), np.random.default_rng(beat)
    expected = rng.integers(0, 256, MEMORY, dtype=np.uint8)
    device.write_memory(0, expected)
    for size in [*range(70), *rng.integers(0, 5000, 30)]:
        at = int(rng.integers(0, MEMORY - size))
        data = rng.integers(0, 256, size, dtype=np.uint8)
        device.write_memory(at, data)
        expected[at : at + size] = data
        np.testing.assert_array_equal(device.read_memory(at, size), data)
    np.testing.assert_array_equal(bench.board.emulator.read_memory(0, MEMORY), expected)
    np.testing.assert_array_equal(device.read_memory(0, MEMORY), expected)


def test_memory_goes_in_few_packets(bench: Bench) -> None:
    client = bench.client()
    device = bench.device(bench.bus(client))
    before = client.packets_sent
    device.write_memory(0, np.zeros(MEMORY, np.uint8))
    assert client.packets_sent - before == -(-MEMORY // 1408)


def test_jobs_under_faults(bench: Bench) -> None:
    transport = FaultyTransport(LoopTransport(bench.handle), FaultRates.all(0.05), seed=4)
    device = bench.device(bench.bus(LinkClient(transport)))
    assert same(jobs(device), jobs(Emulator(memory_bytes=MEMORY, kernel="numpy")))
    assert device.link_counts["repeated"] > 20
    assert "repeated" in device.report()


def test_what_is_refused_harms_nothing(bench: Bench) -> None:
    bus = bench.bus()
    with pytest.raises(LinkError, match="READ at 0x900000: BUS_TIMEOUT"):
        bus.read(0x900000, 1)
    assert bus.read(CORE, 1)[0] == IDENTITY_MAGIC


def test_after_silence_nothing_is_used_any_more(bench: Bench) -> None:
    """Not even when the board is back: who knows what happened to it meanwhile."""
    device = bench.device(bench.bus())
    bench.switched_on = False
    with pytest.raises(LinkError, match=r"no answer to WRITE_BLOCK .* Check that the board is on"):
        device.write_memory(0, np.ones(64, np.uint8))
    bench.switched_on = True
    with pytest.raises(LinkError, match=r"since this: .*no answer to WRITE_BLOCK.*Open the device again"):
        device.read_register("STATUS")
    device.close()
    assert bench.device(bench.bus()).read_fields("STATUS")["IDLE"] == 1


def test_a_reset_board_is_told_once_and_for_all(bench: Bench) -> None:
    device = bench.device(bench.bus())
    bench.link.reset()
    with pytest.raises(SessionLostError, match="it was reset, or another program opened it"):
        device.read_memory(0, 4)
    with pytest.raises(LinkError, match="not used any more"):
        device.read_memory(0, 4)


def test_a_board_in_use_is_told(bench: Bench) -> None:
    """By another program that goes on while this one asks; its session stays."""
    first = bench.bus()

    def meanwhile(packet: bytes) -> Iterable[bytes]:
        first.read(CORE, 1)
        return bench.handle(packet)

    first.read(CORE, 1)
    with pytest.raises(DeviceBusyError, match=r"in use by session .* End that program"):
        bench.device(bench.bus(LinkClient(LoopTransport(meanwhile))))
    assert bench.device(first).read_fields("STATUS")["IDLE"] == 1


def test_a_forked_child_may_not_use_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bus = bench.bus()
    bus.read(CORE, 1)
    session = bench.link.session
    monkeypatch.setattr(os, "getpid", lambda: -1)
    for access in (lambda: bus.read(CORE, 1), lambda: bus.write(RAM, np.zeros(1, np.uint32))):
        with pytest.raises(DeviceError, match="used by its child -1"):
            access()
    bus.close()
    assert bench.link.session == session


def test_over_a_serial_line(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its uri, through a pseudo-terminal."""
    pytest.importorskip("serial")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "csr.json").write_text(json.dumps(bench.board.record), "utf-8")
    board_end, host_end = os.openpty()
    tty.setraw(host_end)

    def serve() -> None:
        frames = Deframer(LONGEST)
        while b"end" not in (data := os.read(board_end, 4096)):
            for packet in frames.push(data):
                for answer in bench.handle(packet):
                    os.write(board_end, frame(answer))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    uri = f"litex:link+serial://{os.ttyname(host_end)}?csr={tmp_path / 'csr.json'}&baud=1000000"
    with open_device(uri) as device:
        assert device.name == f"litex link+serial://{os.ttyname(host_end)}"
        assert same(jobs(device, 1), jobs(Emulator(memory_bytes=MEMORY, kernel="numpy"), 1))
    os.write(host_end, b"end")
    thread.join(5.0)
    assert not thread.is_alive()
    os.close(board_end)
    os.close(host_end)


@pytest.mark.parametrize("simulated", [False, True])
def test_a_simulation_is_no_board(bench: Bench, simulated: bool, tmp_path: Path) -> None:
    """Its map says so."""
    from spatten_drivers.devices.litex import opening

    record = bench.board.record
    if simulated:
        record["constants"]["spatten_simulated"] = None
    (tmp_path / "csr.json").write_text(json.dumps(record), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        patch.setitem(opening.BUSES, "link", lambda place: bench.bus())
        uri = f"litex:link://127.0.0.1?csr={tmp_path / 'csr.json'}"
        with open_device(uri) as device:
            assert device.is_board is not simulated
        patch.setenv("SPATTEN_BOARD", uri)
        if simulated:
            with pytest.raises(DeviceError, match=r"litex link://127.0.0.1:5392 is a simulation"):
                open_device("auto", require_board=True)
        else:
            open_device("auto", require_board=True, announce=lambda _: None).close()
