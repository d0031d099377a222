# SPDX-License-Identifier: BSD-2-Clause
"""The generated core, driven as a driver drives a board, beside the emulator: the same bytes everywhere.

Only registers, memory and the interrupt are touched. What needs a clock is not compared.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from numpy.typing import NDArray

from spatten_drivers import (
    Accelerator,
    AcceleratorConfig,
    Device,
    Emulator,
    LayerResult,
    Quantization,
    Status,
)
from spatten_drivers.accelerator import Ticket
from spatten_drivers.answer import COUNTERS
from spatten_drivers.errors import DeviceError, JobError
from spatten_drivers.registers import REGISTERS
from tests.drivers.broken import BROKEN
from tests.drivers.floats import Layer, layer
from tests.fpga.core.core_bench import CLOCKED
from tests.model.corners import CORNERS
from tests.model.jobs import JobImage, build
from tests.model.oracle_config import OracleConfig

from .chip import Chip, chip

CONFIG = AcceleratorConfig(**asdict(OracleConfig()))
RULES = Quantization.progressive(6, 4, 0.3)
TIMEOUT = 120.0
IRQ_ENABLE = 4


@pytest.fixture
def board() -> Chip:
    board = chip(CONFIG)
    board.memory[:] = 0
    board.reset()
    return board


@pytest.fixture
def emulator(board: Chip) -> Emulator:
    return Emulator(CONFIG, memory_bytes=board.memory.size)


def without_clock(memory: NDArray[np.uint8], *answers: int) -> NDArray[np.uint8]:
    """Memory with the counters that need a clock set to 0, in the answers at these addresses."""
    memory = memory.copy()
    for answer in answers:
        for counter in COUNTERS:
            if counter.name in CLOCKED:
                memory[answer + 4 * counter.index :][:8] = 0
    return memory


def assert_same_memory(board: Chip, emulator: Emulator, *answers: int) -> None:
    size = board.memory.size
    found, expected = (without_clock(d.read_memory(0, size), *answers) for d in (board, emulator))
    assert np.flatnonzero(found != expected).tolist() == []


def ends(device: Device) -> dict[str, int]:
    """How jobs ended, as registers say it."""
    names = ("JOBS_DONE", "JOB_LAST_ID", "JOB_ERROR")
    return {**{name: device.read_register(name) for name in names}, **device.read_fields("STATUS")}


def submitted(device: Device, count: int = 3) -> tuple[Accelerator, Layer, list[Ticket]]:
    """Jobs in the queue, each of another kind."""
    driver, data = Accelerator(device, TIMEOUT), layer(device, RULES, tokens=20)
    rules = ({"causal": True}, {"keep_values": 5, "keep_tokens": 9}, {"keep_heads": 2, "decay": 0.5})
    tickets = [driver.submit(data.sequence, data.request(**rules[n % 3])) for n in range(count)]
    return driver, data, tickets


def clean_job(driver: Accelerator, data: Layer) -> LayerResult:
    """A job that nothing before it may show in."""
    return driver.attend(data.sequence, data.request(add_tokens=False, add_heads=False, causal=True))


def run_image(device: Device, image: JobImage) -> dict[str, int]:
    """A binary job as it lies in memory; how it ended."""
    device.write_memory(0, np.frombuffer(bytes(image.memory), np.uint8))
    device.wait_for_jobs(device.push_job(image.descriptor_address, TIMEOUT), TIMEOUT)
    return ends(device)


def test_the_registers_are_those_of_the_emulator(board: Chip, emulator: Emulator) -> None:
    assert board.config == CONFIG
    readable = [word.name for word in REGISTERS if word.access != "wo"]
    assert {n: board.read_register(n) for n in readable} == {n: emulator.read_register(n) for n in readable}


@pytest.mark.parametrize("address", [0x40, 0x7FC, 0x800, 0xFFC])
def test_nothing_else_answers(board: Chip, address: int) -> None:
    board.write_word(address, 0xFFFFFFFF)
    assert board.read_word(address) == 0


@pytest.mark.parametrize("pace", [1.0, 0.5])
def test_jobs_back_to_back(board: Chip, emulator: Emulator, pace: float) -> None:
    """The driver pushes them all before it asks for the first."""
    board.pace = pace
    answers = []
    for device in (board, emulator):
        driver, _, tickets = submitted(device)
        for ticket in tickets:
            driver.wait(ticket)
        answers = [ticket.answer.device_address for ticket in tickets]
    assert_same_memory(board, emulator, *answers)
    assert ends(board) == ends(emulator)


def test_counters_are_read_from_the_answer(board: Chip) -> None:
    result = clean_job(*submitted(board, 0)[:2])
    assert 0 < result.answer.counters["busy_qk"] < result.answer.counters["cycles"]


def test_the_interrupt_tells_of_each_end(board: Chip) -> None:
    board.write_register("CONTROL", IRQ_ENABLE)
    submitted(board)
    for done in (1, 2, 3):
        board.wait_for_interrupt()
        assert board.read_register("JOBS_DONE") == done
    assert board.read_register("CONTROL") == IRQ_ENABLE


@pytest.mark.parametrize(("field", "value", "status"), BROKEN.values(), ids=BROKEN)
def test_broken_jobs(board: Chip, emulator: Emulator, field: str, value: int, status: Status) -> None:
    image = build(CORNERS["refetch_some_rows"][1])
    image.poke(field, value)
    assert run_image(board, image) == run_image(emulator, image)
    assert board.read_register("JOB_ERROR") == status
    assert board.read_register("JOB_LAST_ID") == CORNERS["refetch_some_rows"][1].job_id
    assert_same_memory(board, emulator)


@pytest.mark.parametrize("address", [8, (1 << 20) - 128, 0xFFFFFFF0])
def test_a_descriptor_that_is_not_there(board: Chip, emulator: Emulator, address: int) -> None:
    image = build(CORNERS["refetch_some_rows"][1])
    for device in (board, emulator):
        assert run_image(device, image)["JOB_LAST_ID"] == CORNERS["refetch_some_rows"][1].job_id
        device.wait_for_jobs(device.push_job(address, TIMEOUT), TIMEOUT)
    assert ends(board) == ends(emulator)
    assert ends(board)["JOB_ERROR"] == Status.BAD_ADDRESS
    assert ends(board)["JOB_LAST_ID"] == 0


def status_in_memory(device: Device, ticket: Ticket) -> int:
    return int(device.read_memory(ticket.answer.device_address + 12, 4).view("<u4")[0])


@pytest.mark.parametrize("part", range(4))
def test_an_abort_then_a_clean_job(board: Chip, emulator: Emulator, part: int) -> None:
    """At many moments of three jobs: what is left in registers and memory, and the job after."""
    expected = clean_job(*submitted(emulator, 0)[:2]).answer
    stopped = set()
    for cycles in range(37 * part, 13_000, 4 * 337):
        board.memory[:] = 0
        board.reset()
        driver, data, tickets = submitted(board)
        board.let_pass(cycles)
        board.abort()
        board.wait_for_jobs(tickets[-1].number, TIMEOUT)
        statuses = [status_in_memory(board, ticket) for ticket in tickets]
        done = statuses.count(Status.DONE)
        assert done < 3, f"nothing was left to abort after {cycles} cycles"
        assert statuses[:done] == [Status.DONE] * done
        assert statuses[done] in (Status.ABORTED, Status.PENDING)
        assert statuses[done + 1 :] == [Status.PENDING] * (2 - done)
        state = ends(board)
        assert state["JOB_LAST_ID"] in (0, tickets[done].job["job_id"])
        assert (state["JOBS_DONE"], state["JOB_ERROR"]) == (3, Status.ABORTED)
        assert (state["IDLE"], state["QUEUE_LEVEL"]) == (1, 0)
        board.clear_error()
        assert clean_job(driver, data).answer.differences(expected) == ["field job_id"]
        assert ends(board)["JOB_ERROR"] == 0
        stopped.add(done)
    assert stopped == {0, 1, 2}


def test_registers_after_an_abort_are_those_of_the_emulator(board: Chip, emulator: Emulator) -> None:
    """A job that ended, three that are dropped."""
    for device in (board, emulator):
        driver, data, _ = submitted(device, 0)
        clean_job(driver, data)
        board.gives_data = False  # so that the board reads no header of the next ones
        for _ in range(3):
            driver.submit(data.sequence, data.request())
        device.abort()
        device.wait_for_jobs(4, TIMEOUT)
        board.gives_data = True
    differing = {"JOB_LAST_ID"}  # on the board a job ran, whose header was not read
    found, expected = ends(board), ends(emulator)
    assert {n for n in found if found[n] != expected[n]} == differing
    assert (found["JOB_LAST_ID"], expected["JOB_LAST_ID"]) == (0, 1)


def test_the_watchdog(board: Chip, emulator: Emulator) -> None:
    expected = clean_job(*submitted(emulator, 0)[:2]).answer
    driver, data, _ = submitted(board, 0)
    board.write_register("WATCHDOG", 500)
    with pytest.raises(JobError) as error:
        clean_job(driver, data)
    assert error.value.status is Status.WATCHDOG
    board.write_register("WATCHDOG", 100_000)
    assert clean_job(driver, data).answer.differences(expected) == ["field job_id"]


def test_memory_that_never_answers(board: Chip, emulator: Emulator) -> None:
    expected = clean_job(*submitted(emulator, 0)[:2]).answer
    driver, data, _ = submitted(board, 0)
    board.write_register("WATCHDOG", 500)
    board.gives_data = False
    with pytest.raises(JobError) as error:
        clean_job(driver, data)
    assert error.value.status is Status.WATCHDOG
    assert board.read_register("JOB_LAST_ID") == 0
    board.gives_data = True
    board.write_register("WATCHDOG", 100_000)
    assert clean_job(driver, data).answer.differences(expected) == ["field job_id"]


def test_a_full_queue(board: Chip, emulator: Emulator) -> None:
    """The board takes the running job and those that wait; one more is lost. The emulator raises."""
    image = build(CORNERS["refetch_some_rows"][1])
    depth = CONFIG.job_queue_depth
    board.pause = 0
    board.write_memory(0, np.frombuffer(bytes(image.memory), np.uint8))
    for _ in range(depth + 1):
        assert board.read_fields("STATUS")["QUEUE_FULL"] == 0
        board.write_register("JOB_PUSH", image.descriptor_address)
    state = board.read_fields("STATUS")
    assert (state["QUEUE_FULL"], state["QUEUE_LEVEL"]) == (1, depth)
    board.write_register("JOB_PUSH", image.descriptor_address)
    board.pause = 40
    board.wait_for_jobs(depth + 1, TIMEOUT)
    assert ends(board)["IDLE"] == 1
    assert ends(board)["JOBS_DONE"] == depth + 1

    emulator.write_memory(0, np.frombuffer(bytes(image.memory), np.uint8))
    for _ in range(depth):
        emulator.write_register("JOB_PUSH", image.descriptor_address)
    with pytest.raises(DeviceError, match="job queue is full"):
        emulator.write_register("JOB_PUSH", image.descriptor_address)


def test_the_driver_never_overfills_the_queue(board: Chip) -> None:
    driver, _, tickets = submitted(board, 3 * CONFIG.job_queue_depth)
    for ticket in tickets:
        driver.wait(ticket)
    assert board.read_register("JOBS_DONE") == len(tickets)
