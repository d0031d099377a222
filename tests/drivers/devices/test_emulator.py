# SPDX-License-Identifier: BSD-2-Clause
"""The emulator's queue, errors and memory: what a board does, and what only software can be made to do."""

from dataclasses import replace

import numpy as np
import pytest

from spatten_drivers import Accelerator, AcceleratorConfig, Device, Emulator, Quantization, Status
from spatten_drivers.accelerator import Ticket
from spatten_drivers.errors import (
    DeviceError,
    DeviceMemoryError,
    DeviceTimeoutError,
    JobError,
    OperandError,
)

from ..floats import Layer, layer

MEMORY = 1 << 20
RULES = Quantization.progressive(6, 4, 0.1)


@pytest.fixture
def emulator() -> Emulator:
    return Emulator(memory_bytes=MEMORY)


def stuck(depth: int = 16) -> Emulator:
    """An emulator that never finishes a job."""
    return Emulator(AcceleratorConfig(job_queue_depth=depth), memory_bytes=MEMORY, hang=True)


def submitted(device: Emulator, count: int) -> tuple[Accelerator, Layer, list[Ticket]]:
    driver, data = Accelerator(device, timeout=0.02), layer(device, RULES, tokens=8)
    return driver, data, [driver.submit(data.sequence, data.request()) for _ in range(count)]


def status_in_memory(device: Emulator, ticket: Ticket) -> int:
    return int(device.read_memory(ticket.answer.device_address + 12, 4).view("<u4")[0])


def test_jobs_run_in_order_one_at_each_look(emulator: Emulator) -> None:
    _, _, tickets = submitted(emulator, 3)
    assert [status_in_memory(emulator, t) for t in tickets] == [0, 0, 0]
    for done in (1, 2, 3):
        assert emulator.read_register("JOBS_DONE") == done
        assert [status_in_memory(emulator, t) for t in tickets] == [1] * done + [0] * (3 - done)
    assert emulator.read_register("JOB_LAST_ID") == tickets[-1].job["job_id"]


def test_status_follows_the_queue(emulator: Emulator) -> None:
    assert emulator.read_fields("STATUS") == {
        "IDLE": 1,
        "QUEUE_FULL": 0,
        "ERROR": 0,
        "DRAM_READY": 1,
        "QUEUE_LEVEL": 0,
    }
    submitted(emulator, 3)
    levels = [(f["IDLE"], f["QUEUE_LEVEL"]) for f in (emulator.read_fields("STATUS") for _ in range(3))]
    assert levels == [(0, 2), (0, 1), (1, 0)]


def test_a_full_queue() -> None:
    device = stuck(depth=2)
    driver, data, tickets = submitted(device, 2)
    status = device.read_fields("STATUS")
    assert (status["QUEUE_FULL"], status["QUEUE_LEVEL"]) == (1, 2)
    with pytest.raises(DeviceError) as error:
        device.write_register("JOB_PUSH", tickets[0].descriptor.device_address)
    assert str(error.value) == "emulator: job queue is full (2 jobs); wait for one to end first"
    with pytest.raises(DeviceTimeoutError, match=r"^emulator: job 1 not done within 0.02 s: "):
        driver.submit(data.sequence, data.request())


def test_a_deadline_tells_the_state() -> None:
    driver, _, tickets = submitted(stuck(), 1)
    with pytest.raises(DeviceTimeoutError) as error:
        driver.wait(tickets[0])
    assert isinstance(error.value, TimeoutError)
    assert str(error.value) == (
        "emulator: job 1 not done within 0.02 s: JOBS_DONE 0, STATUS {'IDLE': 0, 'QUEUE_FULL': 0, 'ERROR': "
        "0, 'DRAM_READY': 1, 'QUEUE_LEVEL': 1}, JOB_ERROR 0. Give a longer timeout, or abort() and check the "
        "device"
    )


def test_abort_ends_every_job() -> None:
    device = stuck()
    driver, _, tickets = submitted(device, 2)
    device.abort()
    assert device.read_register("JOB_ERROR") == Status.ABORTED
    assert device.read_fields("STATUS")["IDLE"] == 1
    for ticket in tickets:
        with pytest.raises(JobError) as error:
            driver.wait(ticket)
        assert error.value.status is Status.ABORTED
        job = ticket.job["job_id"]
        assert str(error.value) == f"emulator: job {job} ended with ABORTED: CONTROL.ABORT was written."
    assert device.read_register("JOB_ERROR") == 0


def test_an_abort_drops_jobs_unread(emulator: Emulator) -> None:
    submitted(emulator, 4)
    assert emulator.read_register("JOBS_DONE") == 1
    before = emulator.read_memory(0, MEMORY)
    emulator.abort()
    assert (emulator.read_register("JOBS_DONE"), emulator.read_register("JOB_LAST_ID")) == (4, 1)
    assert np.array_equal(emulator.read_memory(0, MEMORY), before)
    emulator.clear_error()
    emulator.abort()  # there is nothing to abort
    assert (emulator.read_register("JOBS_DONE"), emulator.read_register("JOB_ERROR")) == (4, 0)


@pytest.mark.parametrize("address", [MEMORY - 128, MEMORY, 0xFFFFFFF0, 8])
def test_a_header_that_is_not_read_has_no_job_id(emulator: Emulator, address: int) -> None:
    _, _, (ticket,) = submitted(emulator, 1)
    emulator.write_memory(8, np.full(256, 0x55, np.uint8))
    assert emulator.read_register("JOB_LAST_ID") == ticket.job["job_id"]
    emulator.write_register("JOB_PUSH", address)
    assert emulator.read_register("JOB_ERROR") == Status.BAD_ADDRESS
    assert emulator.read_register("JOB_LAST_ID") == 0


#: (byte of the descriptor, its new value, status): a job that was broken between driver and device.
BROKEN = {
    "magic": (0, 0x54, Status.BAD_MAGIC),
    "newer minor version": (4, 2, Status.BAD_VERSION),
    "other major version": (6, 2, Status.BAD_VERSION),
    "descriptor too long": (8, 0, Status.BAD_FIELD),
    "digest": (16, 0xAA, Status.BAD_DIGEST),
    "kind": (24, 1, Status.BAD_FIELD),
    "reserved bit": (25, 0x88, Status.BAD_FIELD),
    "head dimension": (28, 48, Status.BAD_FIELD),
    "query width": (44, 0x67, Status.BAD_FIELD),
    "query address": (56, 0x21, Status.BAD_ADDRESS),
    "answer address": (104, 0x21, Status.BAD_ADDRESS),
    "head order": (256, 2, Status.BAD_LIST),
    "key order": (256 + 32, 9, Status.BAD_LIST),
}


@pytest.mark.parametrize(("at", "value", "status"), BROKEN.values(), ids=BROKEN)
def test_a_broken_job_fails_and_leaves_nothing_behind(
    emulator: Emulator, at: int, value: int, status: Status
) -> None:
    driver, data, tickets = submitted(emulator, 1)
    address = tickets[0].descriptor.device_address + at
    emulator.write_memory(address, np.array([value], np.uint8))
    with pytest.raises(JobError) as error:
        driver.wait(tickets[0])
    assert error.value.status is status
    job = tickets[0].job["job_id"]
    assert str(error.value).startswith(f"emulator: job {job} ended with {status.name}: ")
    assert emulator.read_register("JOB_ERROR") == 0
    assert emulator.read_fields("STATUS")["ERROR"] == 0

    fresh = Emulator(memory_bytes=MEMORY)
    expected = Accelerator(fresh).attend(layer(fresh, RULES, tokens=8).sequence, data.request())
    after = driver.attend(data.sequence, data.request())
    assert [d for d in after.answer.differences(expected.answer) if d != "field job_id"] == []


def test_the_text_of_an_error(emulator: Emulator) -> None:
    driver, _, tickets = submitted(emulator, 1)
    emulator.write_memory(tickets[0].descriptor.device_address, np.zeros(4, np.uint8))
    with pytest.raises(JobError) as error:
        driver.wait(tickets[0])
    assert str(error.value) == (
        "emulator: job 1 ended with BAD_MAGIC: The descriptor does not begin with SPTJ."
    )


def test_a_causal_query_that_sees_no_key(emulator: Emulator) -> None:
    driver, data = Accelerator(emulator), layer(emulator, RULES, tokens=8)
    request = data.request(causal=True, key_slots=np.arange(1, 8))
    with pytest.raises(JobError) as error:
        driver.attend(data.sequence, request)
    assert error.value.status is Status.EMPTY_ROW


def test_the_first_error_stays_until_it_is_cleared(emulator: Emulator) -> None:
    _, _, tickets = submitted(emulator, 3)
    for ticket, at in zip(tickets, (24, 0, 24), strict=True):
        emulator.write_memory(ticket.descriptor.device_address + at, np.array([9], np.uint8))
    errors = [emulator.read_register("JOB_ERROR") for _ in range(2)]
    assert errors == [Status.BAD_FIELD, Status.BAD_FIELD]
    assert emulator.read_fields("STATUS")["ERROR"] == 1
    emulator.clear_error()
    emulator.write_register("JOB_PUSH", tickets[1].descriptor.device_address)
    assert emulator.read_register("JOB_ERROR") == Status.BAD_MAGIC


def test_the_same_job_twice_gives_the_same_bits(emulator: Emulator) -> None:
    driver, data = Accelerator(emulator), layer(emulator, RULES)
    request = data.request(add_tokens=False, add_heads=False, causal=True, keep_values=5, keep_tokens=9)
    ticket = driver.submit(data.sequence, request)
    first = driver.wait(ticket).answer
    emulator.write_memory(ticket.output.device_address, np.zeros(ticket.output.nbytes, np.uint8))
    number = emulator.push_job(ticket.descriptor.device_address, timeout=1.0)
    second = driver.wait(replace(ticket, number=number)).answer
    assert second.output.any()
    assert second.differences(first) == []


def test_two_emulators_are_independent() -> None:
    one, other = Emulator(memory_bytes=MEMORY), Emulator(memory_bytes=MEMORY)
    driver, _, tickets = submitted(one, 1)
    driver.wait(tickets[0])
    assert (one.read_register("JOBS_DONE"), other.read_register("JOBS_DONE")) == (1, 0)
    assert not other.read_memory(0, MEMORY).any()
    one.write_register("WATCHDOG", 5)
    assert other.read_register("WATCHDOG") == 100_000_000


@pytest.mark.parametrize(("address", "size"), [(MEMORY, 1), (MEMORY - 3, 4), (-1, 1), (0, MEMORY + 1)])
def test_access_outside_of_memory(emulator: Emulator, address: int, size: int) -> None:
    message = f"access of {size} bytes at {address:#x}; device memory ends at {MEMORY:#x}"
    with pytest.raises(DeviceMemoryError) as error:
        emulator.read_memory(address, size)
    assert str(error.value) == message
    with pytest.raises(DeviceMemoryError) as error:
        emulator.write_memory(address, np.zeros(size, np.uint8))
    assert str(error.value) == message


def test_the_last_byte_of_memory(emulator: Emulator) -> None:
    emulator.write_memory(MEMORY - 1, np.array([9], np.uint8))
    assert emulator.read_memory(MEMORY - 1, 1).tolist() == [9]


def test_what_is_read_is_a_copy(emulator: Emulator) -> None:
    emulator.read_memory(0, 4)[:] = 1
    assert not emulator.read_memory(0, 4).any()


@pytest.mark.parametrize("address", [-4, 2, 64])
def test_no_register_there(emulator: Emulator, address: int) -> None:
    with pytest.raises(OperandError) as error:
        emulator.read_word(address)
    assert str(error.value) == f"no register at address {address:#x}; expected 0 to 0x3c by 4"


def test_read_only_registers_ignore_writes(emulator: Emulator) -> None:
    """As on a board; ``register_map`` refuses before."""
    before = emulator.read_register("IDENTITY")
    emulator.write_register("IDENTITY", 1)
    assert emulator.read_register("IDENTITY") == before


def test_memory_that_32_bits_do_not_reach() -> None:
    with pytest.raises(
        OperandError, match=r"^MEMORY_BYTES is 4294967296; expected 0 to 4294967295 \(32 bits\)"
    ):
        Emulator(memory_bytes=1 << 32)


@pytest.mark.parametrize("distance", [5, 32, -32])
def test_rows_at_a_distance_land_as_one_by_one(emulator: Emulator, distance: int) -> None:
    rows = np.arange(1, 16, dtype=np.uint8).reshape(3, 5)
    emulator.write_rows(128, distance, rows)
    found = emulator.read_memory(0, 256)
    emulator.write_memory(0, np.zeros(256, np.uint8))
    Device.write_rows(emulator, 128, distance, rows)
    np.testing.assert_array_equal(found, emulator.read_memory(0, 256))
    assert np.count_nonzero(found) == 15


@pytest.mark.parametrize(("address", "distance"), [(MEMORY - 36, 16), (16, -16), (MEMORY - 4, -16)])
def test_rows_outside_memory_are_refused(emulator: Emulator, address: int, distance: int) -> None:
    with pytest.raises(DeviceMemoryError):
        emulator.write_rows(address, distance, np.ones((3, 5), np.uint8))
    assert not emulator.read_memory(0, 64).any()
