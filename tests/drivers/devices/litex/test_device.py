# SPDX-License-Identifier: BSD-2-Clause
"""The litex device over faulty links to a board in Python: jobs, memory that is not ready, pushes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from spatten_drivers import (
    Accelerator,
    Device,
    Emulator,
    LayerRequest,
    LayerResult,
    Quantization,
    Sequence,
    Shape,
)
from spatten_drivers.devices.litex import LitexDevice
from spatten_drivers.devices.litex.checked_bus import CheckedBus
from spatten_drivers.devices.litex.uart_link import UartLink
from spatten_drivers.devices.litex.udp_link import UdpLink
from spatten_drivers.errors import DeviceError, DramError, LinkTimeoutError
from spatten_drivers.registers import IDENTITY_MAGIC
from tests.drivers.devices.litex.board import CORE, DRAM, Board, BoardWithSoftware, MockPhy
from tests.drivers.devices.litex.bridges import RAM, EtherboneSlave
from tests.drivers.devices.litex.faults import Faults, FaultyLine, FaultyNetwork

MEMORY = 1 << 16
PERFECT = Faults()
WINDOWS = [{(1, 2), (1, 3), (1, 4)}, {(2, 5), (2, 6)}]


def over_network(
    board: Board, faults: Faults = PERFECT, seed: int = 1, *, renew: bool = False
) -> LitexDevice:
    network = FaultyNetwork(EtherboneSlave(board, 256), faults, seed)
    return opened(board, CheckedBus(UdpLink(network, 256), range(RAM, RAM + MEMORY)), renew)


def over_line(board: Board) -> LitexDevice:
    link = UartLink(FaultyLine(board, Faults()), (CORE, IDENTITY_MAGIC))
    return opened(board, CheckedBus(link, range(RAM, RAM + MEMORY)))


def opened(board: Board, bus: CheckedBus, renew: bool = False) -> LitexDevice:
    dram = DRAM if board.phy else None
    return LitexDevice(bus, board.csr_map, name="mock board", dram=dram, window=512, renew=renew)


def emulator() -> Emulator:
    return Emulator(memory_bytes=MEMORY, kernel="numpy")


def jobs(device: Device, count: int = 3) -> list[LayerResult]:
    """A few layers, each on the importance that the one before left."""
    sequence = Sequence(device, Shape(count, 2, 32, 16), Quantization.progressive())
    values = np.random.default_rng(0).standard_normal((2, 16, 32))
    slots, heads = np.arange(16), np.arange(2)
    accelerator, results = Accelerator(device), []
    for layer in range(count):
        sequence.write(layer, heads, slots, values, values[:, ::-1])
        request = LayerRequest(layer, heads, values, slots, slots, 16, 32**-0.5, keep_tokens=12)
        results.append(accelerator.attend(sequence, request))
    return results


def same(left: list[LayerResult], right: list[LayerResult]) -> bool:
    return all(
        np.array_equal(a.output, b.output) and np.array_equal(a.tokens, b.tokens)
        for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize(
    "open_board",
    [
        over_network,
        lambda board: over_network(board, Faults(loss=0.05, delay=0.05)),
        over_line,
    ],
    ids=["network", "faulty network", "line"],
)
def test_jobs_give_what_the_emulator_gives(open_board: Callable[[Board], LitexDevice]) -> None:
    device = open_board(Board(emulator()))
    assert same(jobs(device), jobs(emulator()))
    assert device.bus_errors == 0
    assert device.is_board


def test_a_push_that_nothing_confirms_is_never_done_twice() -> None:
    """Of 40 pushes every fourth packet is lost, either way; the device takes each job once."""
    board = Board(emulator())
    device = over_network(board, Faults(loss=0.25), seed=3)
    for number in range(1, 41):
        assert device.push_job(0, timeout=10.0) == number
        device.wait_for_jobs(number, timeout=10.0)
        assert board.emulator.read_register("JOBS_DONE") == number
    assert device.link_counts["lost"] > 100


def test_a_push_that_the_network_repeats_is_seen() -> None:
    device = over_network(Board(emulator()), Faults(repeat=1.0, max_delay=0.001))
    device.push_job(0, timeout=10.0)
    device.bus.link.sleep(0.01)
    with pytest.raises(DeviceError, match="taken 2 jobs since reset, this program knows of 1"):
        device.push_job(0, timeout=10.0)


def test_memory_is_made_ready_from_the_host() -> None:
    board = Board(emulator(), MockPhy(WINDOWS))
    device = over_network(board)
    assert device.leveling is not None
    assert [lane.best and lane.best.delay for lane in device.leveling.lanes] == [3, 5]
    assert device.read_fields("STATUS")["DRAM_READY"] == 1
    assert device.report().startswith("link faults detected since opening: none\nread levelling, delays")
    assert same(jobs(device), jobs(emulator()))


def test_memory_is_made_ready_over_a_lossy_network() -> None:
    """What counts up is counted anew from its reset when a step is not confirmed."""
    phy = MockPhy(WINDOWS)
    device = over_network(Board(emulator(), phy), Faults(loss=0.02, delay=0.02))
    assert (phy.bitslip, phy.delay) == ([1, 2], [3, 5])
    assert device.link_counts["lost"] > 50


@pytest.mark.parametrize(
    ("windows", "stuck", "told"),
    [([WINDOWS[0], set()], 0, "no window on byte lane 1"), (WINDOWS, 1 << 7, "memory test, data lines")],
    ids=["levelling", "memory test"],
)
def test_memory_that_fails_is_never_ready(windows: list[set[tuple[int, int]]], stuck: int, told: str) -> None:
    board = Board(emulator(), MockPhy(windows))
    board.stuck_bits = stuck
    with pytest.raises(DramError, match=f"mock board: .*{told}"):
        over_network(board)
    assert (board.values["ddrctrl_init_done"], board.values["ddrctrl_init_error"]) == (0, 1)
    status = board.emulator.register_addresses["STATUS"]
    assert board.read(CORE + status) >> 3 & 1 == 0


def test_memory_without_a_description_is_refused() -> None:
    board = Board(emulator())
    board.values["ddrctrl_init_done"] = 0
    with pytest.raises(DeviceError, match=r"no processor that does it, and there is no dram\.json"):
        over_network(board)


# Memory by a board's own software -------------------------------------------------------------------


def with_software(monkeypatch: pytest.MonkeyPatch, *verdicts: bool) -> BoardWithSoftware:
    """A board in whose time the driver waits."""
    board = BoardWithSoftware(emulator(), *verdicts)
    clock = SimpleNamespace(sleep=board.sleep, monotonic=lambda: board.now)
    monkeypatch.setattr("spatten_drivers.devices.litex.device.time", clock)
    return board


def test_memory_that_the_boards_software_makes_ready_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    board = with_software(monkeypatch, True)
    device = over_network(board)
    assert board.ENDS <= board.now < board.ENDS + 0.2  # it looks every tenth of a second
    assert device.leveling is None
    assert device.report().endswith("the processor's console:\nMemtest OK\n")
    assert same(jobs(device), jobs(emulator()))


def test_memory_that_the_boards_software_finds_bad_is_refused_with_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(DramError, match=r"software found its memory bad.*printed last:\nMemtest KO"):
        over_network(with_software(monkeypatch, False))


def test_a_board_whose_software_hangs_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    board = with_software(monkeypatch)
    with pytest.raises(DramError, match=r"has not made memory ready within 20 s.*keeps no console"):
        over_network(board)
    assert 20 <= board.now < 21


@pytest.mark.parametrize("before", [True, False], ids=["ready before", "bad before"])
def test_memory_made_ready_anew_is_that_of_the_new_start(
    before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the start before said of memory stands in the registers until the software gets to it."""
    board = with_software(monkeypatch, before, True)
    board.sleep(board.ENDS)
    device = over_network(board, renew=True)
    assert board.verdicts == []
    assert same(jobs(device), jobs(emulator()))


def test_what_a_killed_program_left_is_ended() -> None:
    board = Board(emulator())
    killed = over_network(board)
    for _ in range(3):
        killed.push_job(0, timeout=1.0)  # and dies: the jobs stay in the queue
    device = over_network(board)
    assert device.read_fields("STATUS")["IDLE"] == 1
    assert device.read_register("JOB_ERROR") == 0
    assert same(jobs(device), jobs(emulator()))


def test_a_board_that_answers_nothing_says_what_to_look_at() -> None:
    with pytest.raises(LinkTimeoutError, match=r"no valid answer to 8 requests .* Is the board on"):
        over_network(Board(emulator()), Faults(loss=1.0))


def test_a_server_that_comes_back_is_found_again() -> None:
    board = Board(emulator())
    device = over_network(board)
    before = jobs(device, 1)
    network: FaultyNetwork = device.bus.link._channel
    network.slave.mute = True
    with pytest.raises(LinkTimeoutError):
        jobs(device, 1)
    network.slave.mute = False
    again = over_network(board)
    assert same(jobs(again, 1), before)
