# SPDX-License-Identifier: BSD-2-Clause
"""Debug mode: a sync that was forgotten is seen, one that was not is not."""

import numpy as np
import pytest

from spatten_drivers import Accelerator, Emulator, Quantization, allocate
from spatten_drivers.devices.poison import DEVICE_POISON, HOST_POISON

from ..floats import Layer, layer

RULES = Quantization.progressive(6, 4, 0.1)


@pytest.fixture
def emulator() -> Emulator:
    return Emulator(memory_bytes=1 << 20, debug=True)


def run(device: Emulator) -> tuple[Accelerator, Layer]:
    """Any job: poison is laid around jobs."""
    driver, data = Accelerator(device), layer(device, RULES)
    driver.attend(data.sequence, data.request())
    return driver, data


def test_a_forgotten_sync_to_device(emulator: Emulator) -> None:
    buffer = allocate(16, "u1", emulator)
    buffer[:8] = 3
    buffer[:8].sync_to_device()
    buffer[4:12] = 5
    run(emulator)
    buffer.sync_from_device()
    assert buffer.tolist() == [3] * 4 + [DEVICE_POISON] * 12


def test_a_forgotten_sync_of_keys_changes_the_answer(emulator: Emulator) -> None:
    driver, data = run(emulator)
    right = driver.attend(data.sequence, data.request(add_tokens=False)).output
    data.sequence.k.msb[0, 1, 3] ^= 1
    wrong = driver.attend(data.sequence, data.request(add_tokens=False)).output
    assert (right[1] != wrong[1]).any()
    planes = data.sequence.k.msb
    there = emulator.read_memory(planes[0, 1, 3].device_address, 4)
    assert there.tolist() == [DEVICE_POISON] * 4


def test_a_forgotten_sync_from_device(emulator: Emulator) -> None:
    driver, data = run(emulator)
    ticket = driver.submit(data.sequence, data.request())
    emulator.wait_for_jobs(ticket.number, timeout=1.0)
    stale = np.asarray(ticket.output).view(np.uint8).copy()
    ticket.output.sync_from_device()
    fresh = np.asarray(ticket.output).view(np.uint8)
    changed = fresh != DEVICE_POISON  # nobody had written there before the job
    assert (stale[changed] == HOST_POISON).all()
    assert changed.mean() > 0.9
    assert fresh.any()


def test_a_program_that_forgets_nothing_runs_as_without_debug(emulator: Emulator) -> None:
    answers = []
    for device in (emulator, Emulator(memory_bytes=1 << 20)):
        driver, data = Accelerator(device), layer(device, RULES)
        results = [driver.attend(data.sequence, data.request(keep_tokens=12))]
        kept = results[0].tokens
        twin = data.sequence.copy()
        for sequence in (data.sequence, twin):
            request = data.request(queries=data.q[:, -2:], query_slots=np.array([22, 23]), key_slots=kept)
            results.append(driver.attend(sequence, request))
        answers.append([result.answer for result in results])
    for debugged, plain in zip(*answers, strict=True):
        assert debugged.differences(plain) == []


def test_poison_ends_with_its_buffer(emulator: Emulator) -> None:
    buffer = allocate(16, "u1", emulator)
    address = buffer.device_address
    del buffer
    emulator.write_memory(address, np.full(16, 7, np.uint8))
    emulator.write_register("JOB_PUSH", 1 << 19)
    emulator.wait_for_jobs(1, timeout=1.0)
    assert emulator.read_memory(address, 16).tolist() == [7] * 16


def test_memory_of_a_freed_buffer_is_its_next_owners(emulator: Emulator) -> None:
    freed = allocate(64, "u1", emulator)
    freed.freebuffer()
    heir = allocate(64, "u1", emulator)
    assert heir.device_address == freed._home.start
    heir[...] = 3
    heir.sync_to_device()
    run(emulator)
    heir.sync_from_device()
    assert heir.tolist() == [3] * 64
