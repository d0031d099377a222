# SPDX-License-Identifier: BSD-2-Clause
"""The simulated system on chip beside the emulator: the same bytes everywhere.

It is driven as a board is: registers and memory over its bus, with LiteDRAM's controller in the loop. The
system is a small one; the deep tests take that of a board.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spatten_drivers import Accelerator, Emulator, LayerResult, Quantization, Status, open_device
from spatten_drivers.accelerator import Ticket
from spatten_drivers.answer import COUNTERS
from spatten_drivers.config import AcceleratorConfig
from spatten_drivers.devices import Device, SocDevice
from spatten_drivers.devices.verilator import Verilator
from spatten_drivers.errors import DeviceError, DeviceTimeoutError, JobError
from spatten_drivers.registers import REGISTERS
from tests.drivers.broken import BROKEN
from tests.drivers.floats import Layer, layer
from tests.model.corners import CORNERS
from tests.model.jobs import JobImage, build

VECTORS = Path(__file__).parents[2] / "vectors"
RULES = Quantization.progressive(6, 4, 0.3)
TIMEOUT = 300.0
#: Counters that need a clock.
CLOCKED = {"cycles", "busy_qk", "busy_pv", "stall_read", "stall_write", "stall_softmax", "stall_topk"}
REGION = 1 << 16  # that the small jobs here live in


@cache
def simulator(preset: str) -> Verilator:
    """One a preset and process."""
    device = open_device(f"verilator?preset={preset}")
    assert isinstance(device, Verilator)
    return device


@pytest.fixture(params=["small", pytest.param("ecp5-85f", marks=pytest.mark.deep)])
def soc(request: pytest.FixtureRequest) -> Iterator[Verilator]:
    """A system without a trace of the test before, but for ``JOBS_DONE`` and ``JOB_LAST_ID``."""
    device = simulator(request.param)
    for name, value in (("CONTROL", 0), ("WATCHDOG", 100_000_000)):
        device.write_register(name, value)
    device.bus.memory[:REGION] = 0
    device.door = "front"
    device.identify()  # with an allocator of its own, as a new emulator has
    yield device
    assert device.bus_errors == 0
    assert device.read_fields("STATUS") == {
        "IDLE": 1,
        "QUEUE_FULL": 0,
        "ERROR": 0,
        "DRAM_READY": 1,
        "QUEUE_LEVEL": 0,
    }


@pytest.fixture
def emulator(soc: Verilator) -> Emulator:
    return Emulator(soc.config, memory_bytes=soc.memory_bytes)


def without_clock(memory: NDArray[np.uint8], *answers: int) -> NDArray[np.uint8]:
    """Memory with the counters that need a clock set to 0, in the answers at these addresses."""
    memory = memory.copy()
    for answer in answers:
        for counter in COUNTERS:
            if counter.name in CLOCKED:
                memory[answer + 4 * counter.index :][:8] = 0
    return memory


def assert_same_memory(soc: Verilator, emulator: Emulator, *answers: int) -> None:
    """Of the region that the jobs of a test live in."""
    found = without_clock(soc.bus.memory[:REGION], *answers)
    expected = without_clock(emulator.read_memory(0, REGION), *answers)
    assert np.flatnonzero(found != expected).tolist() == []


def submitted(
    device: Device, count: int = 3, timeout: float = TIMEOUT
) -> tuple[Accelerator, Layer, list[Ticket]]:
    """Jobs in the queue, each of another kind."""
    driver, data = Accelerator(device, timeout), layer(device, RULES, tokens=20)
    rules = ({"causal": True}, {"keep_values": 5, "keep_tokens": 9}, {"keep_heads": 2, "decay": 0.5})
    return driver, data, [driver.submit(data.sequence, data.request(**rules[n % 3])) for n in range(count)]


def clean_job(driver: Accelerator, data: Layer) -> LayerResult:
    """A job that nothing before it may show in."""
    return driver.attend(data.sequence, data.request(add_tokens=False, add_heads=False, causal=True))


def run_image(device: Device, memory: NDArray[np.uint8], descriptor: int) -> int:
    """A binary job as it lies in memory; the error register after it, which is then cleared."""
    device.write_memory(0, memory)
    device.wait_for_jobs(device.push_job(descriptor, TIMEOUT), TIMEOUT)
    error = device.read_register("JOB_ERROR")
    device.clear_error()
    return error


def adapted(memory: NDArray[np.uint8], descriptor: int, config: AcceleratorConfig) -> NDArray[np.uint8]:
    """The memory image of a vector, with its job meant for this configuration."""
    memory = memory.copy()
    digest = memory[descriptor + 16 :][:8]
    if descriptor % 4 == 0 and digest.size == 8:
        digest[...] = np.array([config.digest], "<u8").view(np.uint8)
    return memory


# Jobs ---------------------------------------------------------------------------------------------


def vectors() -> list[str]:
    """Those with the beats of the boards' memory."""
    names = sorted(path.name for path in VECTORS.glob("*.npz"))
    beats = [json.loads(str(np.load(VECTORS / name)["config_json"]))["beat_bytes"] for name in names]
    return [name for name, beat in zip(names, beats, strict=True) if beat == 16]


@pytest.mark.parametrize("name", vectors())
def test_golden_vectors(soc: Verilator, emulator: Emulator, name: str) -> None:
    """Every byte of memory as the emulator leaves it; jobs that do not fit are refused alike.

    Vectors of other configurations get this one's digest.
    """
    vector = np.load(VECTORS / name)
    descriptor, before = int(vector["descriptor_address"]), vector["memory_before"]
    made_for_this = json.loads(str(vector["config_json"])) == json.loads(soc.config.canonical_json)
    if not made_for_this:
        before = adapted(before, descriptor, soc.config)
    answer = int(before[descriptor + 104 :][:4].view("<u4")[0])
    assert run_image(soc, before, descriptor) == run_image(emulator, before, descriptor)
    assert_same_memory(soc, emulator, *([answer] if answer % 16 == 0 and answer < before.size else []))
    if made_for_this and int(vector["status"]) == Status.DONE:
        found = without_clock(soc.bus.memory[: before.size], answer)
        assert hashlib.sha256(found.tobytes()).hexdigest() == str(vector["memory_after_sha256"])


def test_jobs_back_to_back(soc: Verilator, emulator: Emulator) -> None:
    """The driver pushes them all before it asks for the first; all that registers tell is the same."""
    before, answers = soc.read_register("JOBS_DONE"), []
    for device in (soc, emulator):
        driver, _, tickets = submitted(device)
        for ticket in tickets:
            driver.wait(ticket)
        answers = [ticket.answer.device_address for ticket in tickets]
    assert_same_memory(soc, emulator, *answers)
    assert soc.read_register("JOBS_DONE") - before == emulator.read_register("JOBS_DONE") == 3
    assert soc.read_register("JOB_LAST_ID") == emulator.read_register("JOB_LAST_ID")


def test_the_driver_never_overfills_the_queue(soc: Verilator) -> None:
    before, count = soc.read_register("JOBS_DONE"), 2 * soc.config.job_queue_depth + 1
    driver, _, tickets = submitted(soc, count)
    for ticket in tickets:
        driver.wait(ticket)
    assert soc.read_register("JOBS_DONE") - before == count


def test_cycles_are_counted(soc: Verilator) -> None:
    """By the core, and by the simulator, whose time stands still while nobody looks."""
    driver, data, _ = submitted(soc, 0)
    before = soc.cycles
    assert soc.cycles == before
    counters = clean_job(driver, data).answer.counters
    assert 0 < counters["busy_qk"] < counters["cycles"] < soc.cycles - before


@pytest.mark.parametrize(("field", "value", "status"), BROKEN.values(), ids=BROKEN)
def test_broken_jobs(soc: Verilator, emulator: Emulator, field: str, value: int, status: Status) -> None:
    """They end alike, touch nothing, and the next job is clean."""
    image: JobImage = build(CORNERS["refetch_some_rows"][1])
    memory = adapted(np.frombuffer(bytes(image.memory), np.uint8), image.descriptor_address, soc.config)
    image.memory[:] = memory.tobytes()
    image.poke(field, value)
    broken = np.frombuffer(bytes(image.memory), np.uint8)
    for device in (soc, emulator):
        assert run_image(device, broken, image.descriptor_address) == status
    assert_same_memory(soc, emulator)
    for device in (soc, emulator):
        assert run_image(device, memory, image.descriptor_address) == 0
    assert_same_memory(soc, emulator, image.regions["answer"][0])


@pytest.mark.parametrize("where", ["unaligned", "last", "far"])
def test_a_descriptor_that_is_not_there(soc: Verilator, where: str) -> None:
    address = {"unaligned": 8, "last": soc.memory_bytes - 128, "far": 0xFFFFFFF0}[where]
    soc.wait_for_jobs(soc.push_job(address, TIMEOUT), TIMEOUT)
    assert (soc.read_register("JOB_ERROR"), soc.read_register("JOB_LAST_ID")) == (Status.BAD_ADDRESS, 0)
    soc.clear_error()


# Ends by force ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cycles", [0, 150, 700, 3_000])
def test_an_abort_then_a_clean_job(soc: Verilator, emulator: Emulator, cycles: int) -> None:
    """At any moment of three jobs; what they leave shows in no later job."""
    expected = clean_job(*submitted(emulator, 0)[:2]).answer
    driver, data, tickets = submitted(soc)
    soc.bus.run(cycles)
    soc.abort()
    soc.wait_for_jobs(tickets[-1].number, TIMEOUT)
    assert soc.read_register("JOB_ERROR") == Status.ABORTED
    soc.clear_error()
    assert clean_job(driver, data).answer.differences(expected) == ["field job_id"]


def test_the_watchdog(soc: Verilator, emulator: Emulator) -> None:
    expected = clean_job(*submitted(emulator, 0)[:2]).answer
    driver, data, _ = submitted(soc, 0)
    soc.write_register("WATCHDOG", 500)
    with pytest.raises(JobError) as error:
        clean_job(driver, data)
    assert error.value.status is Status.WATCHDOG
    soc.write_register("WATCHDOG", 1_000_000)
    assert clean_job(driver, data).answer.differences(expected) == ["field job_id"]


def test_a_deadline(soc: Verilator) -> None:
    """The message tells the state; the job goes on."""
    driver, _, (ticket,) = submitted(soc, 1, timeout=0.0)
    with pytest.raises(
        DeviceTimeoutError, match=r"^verilator: job \d+ not done within 0 s: JOBS_DONE \d+, ST"
    ):
        driver.wait(ticket)
    soc.wait_for_jobs(ticket.number, TIMEOUT)


class Again(SocDevice):
    """The next program's view of a simulated system."""

    _let_pass = Verilator._let_pass


def test_a_program_that_was_killed_leaves_nothing(soc: Verilator, emulator: Emulator) -> None:
    """Whoever opens the system next aborts its jobs."""
    expected = clean_job(*submitted(emulator, 0)[:2]).answer
    _, _, tickets = submitted(soc)
    soc.bus.run(400)
    again = Again(soc.bus, soc.csr_map, name="again", is_board=False)
    assert again.read_fields("STATUS")["IDLE"] == 1
    assert again.read_register("JOB_ERROR") == 0
    assert soc.has_ended(tickets[-1].number) is False
    assert clean_job(*submitted(again, 0)[:2]).answer.differences(expected) == []


# The system ---------------------------------------------------------------------------------------


def test_the_registers_are_those_of_the_emulator(soc: Verilator, emulator: Emulator) -> None:
    readable = [w.name for w in REGISTERS if w.access != "wo" and w.name not in ("JOBS_DONE", "JOB_LAST_ID")]
    assert {n: soc.read_register(n) for n in readable} == {n: emulator.read_register(n) for n in readable}
    assert str(soc) == f"verilator (config {soc.config.digest:016x})"
    assert not soc.is_board
    assert Accelerator(soc).timeout == 3600 > Accelerator(emulator).timeout == 60


def test_it_names_itself(soc: Verilator) -> None:
    words = soc.bus.read(soc.csr_map.bases["identifier_mem"], 64)
    text = bytes(words.astype(np.uint8)).partition(b"\0")[0].decode()
    assert text == f"SpAtten, ABI {soc.config.abi}, configuration {soc.config.digest:016x}"


def test_the_front_door_is_the_back_door(soc: Verilator) -> None:
    """Any range of bytes, through any alignment to the controller's words of 16 bytes, and far apart."""
    random = np.random.default_rng(2)
    expected = np.zeros(REGION, np.uint8)
    for _ in range(40):
        start, size = int(random.integers(0, 4096)), int(random.integers(1, 70))
        data = random.integers(0, 256, size, np.uint8)
        expected[start : start + size] = data
        soc.write_memory(start, data)
    assert np.array_equal(soc.bus.memory[:REGION], expected)
    assert np.array_equal(soc.read_memory(0, 4096), expected[:4096])
    for address in (0, 8192, 1 << 20, soc.memory_bytes - 64):
        soc.door = "back"
        soc.write_memory(address, expected[64:128])
        soc.door = "front"
        assert np.array_equal(soc.read_memory(address + 4, 40), expected[68:108])


def test_the_back_door_takes_no_time(soc: Verilator) -> None:
    soc.door = "back"
    before = soc.cycles
    soc.write_memory(3, np.arange(9, dtype=np.uint8))
    assert soc.read_memory(2, 11).tolist() == [0, *range(9), 0]
    assert soc.cycles == before


def test_addresses_that_nobody_answers_are_counted(soc: Verilator) -> None:
    """LiteX answers for them with ones, and only counts; so does whoever waits for a job."""
    assert soc.bus.read(0x9000_0000, 1).tolist() == [0xFFFFFFFF]
    assert soc.bus_errors == 1
    driver, _, (ticket,) = submitted(soc, 1, timeout=0.0)
    with pytest.raises(DeviceTimeoutError, match=r"Bus errors since opening: 1"):
        driver.wait(ticket)
    soc.wait_for_jobs(ticket.number, TIMEOUT)
    soc._errors_before += 1


def test_the_interrupt(soc: Verilator) -> None:
    """It is pending until the host clears it, and only if both the core and the system may raise it."""
    driver, data, _ = submitted(soc, 0)
    soc.write_csr("job_irq_ev_enable", 1)
    clean_job(driver, data)
    assert not soc.bus.interrupt
    soc.write_register("CONTROL", 4)
    clean_job(driver, data)
    assert soc.bus.interrupt
    soc.write_csr("job_irq_ev_pending", 1)
    assert not soc.bus.interrupt


def test_two_systems_in_a_process(soc: Verilator) -> None:
    """Each has its own time and memory; one that is closed says so."""
    other = open_device(f"verilator?preset={soc.preset}&door=back")
    other.write_memory(0, np.full(8, 9, np.uint8))
    assert soc.read_memory(0, 8).tolist() == [0] * 8
    assert other.cycles < soc.cycles
    other.close()
    other.close()
    with pytest.raises(DeviceError, match="verilator: the device is closed; open it again"):
        other.read_register("STATUS")
