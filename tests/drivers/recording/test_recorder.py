# SPDX-License-Identifier: BSD-2-Clause
"""A recorded device behaves as the one inside, and the file says what it was asked and what it answered."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spatten_drivers import Accelerator, Device, Emulator, Quantization, Status, allocate
from spatten_drivers.accelerator import Ticket
from spatten_drivers.config import ABI_MAJOR, ABI_MINOR
from spatten_drivers.errors import DeviceError, DeviceTimeoutError, JobError, RecordingError
from spatten_drivers.job import decode_header, encode_job
from spatten_drivers.recording import RecordedJob, Recorder, Recording, replay
from spatten_drivers.recording.store import read_records

from ..floats import layer
from ..full_disk import room_for
from .devices import MEMORY, RULES, clocked, emulator, growing, three_layers


def jobs_of(path: Path) -> list[RecordedJob]:
    return list(Recording(path))


def pushed(device: Device, **changes: int) -> tuple[Accelerator, Ticket]:
    """A small job with fields changed after the driver's own checks, pushed and not waited for."""
    driver, data = Accelerator(device, timeout=5.0), layer(device, Quantization.static(8), tokens=4)
    ticket = driver._prepare(data.sequence, data.request())
    job = type(ticket.job)(
        {**ticket.job.fields, **changes}, *(ticket.job.heads, ticket.job.keys, ticket.job.queries)
    )
    np.asarray(ticket.descriptor)[...] = encode_job(job, device.config.beat_bytes)
    ticket.descriptor.sync_to_device()
    ticket.number = device.push_job(ticket.descriptor.device_address, 5.0)
    return driver, ticket


@pytest.mark.parametrize("run", [three_layers, growing])
def test_a_recorded_run_gives_the_same_answers(tmp_path: Path, run: Any) -> None:
    bare = run(emulator())
    with Recorder(emulator(), tmp_path / "a.rec") as device:
        recorded = run(device)
    for mine, theirs in zip(bare, recorded, strict=True):
        assert mine.answer.same_bits(theirs.answer)
        assert mine.answer.device == theirs.answer.device
    jobs = jobs_of(tmp_path / "a.rec")
    assert [job.number for job in jobs] == list(range(1, len(bare) + 1))
    assert [job.layer for job in jobs] == [0] * len(bare)
    for job, result in zip(jobs, bare, strict=True):
        assert job.outcome is not None
        output = job.outcome.parts["output"].view("<i2").reshape(result.answer.output.shape)
        np.testing.assert_array_equal(output, result.answer.output)
        fields = decode_header(job.descriptor)
        assert (fields["n_keys"], fields["job_id"]) == (result.job["n_keys"], job.job_id)
        assert job.outcome.seconds > 0


def test_it_looks_like_the_device_inside(tmp_path: Path) -> None:
    inside = emulator()
    with Recorder(inside, tmp_path / "a.rec") as device:
        assert (str(device), device.is_board) == (str(inside), inside.is_board)
        assert device.config is inside.config
        assert device.allocator is inside.allocator
        assert device.register_addresses is inside.register_addresses
        assert device.memory_bytes == MEMORY
        assert device.read_fields("STATUS") == inside.read_fields("STATUS")
        device.identify()
        assert device.allocator is inside.allocator
        device.write_register("WATCHDOG", 7)
        assert inside.read_register("WATCHDOG") == 7
        assert device._get("WATCHDOG") == 7  # what only the device inside has


def test_the_head_says_who_and_when(tmp_path: Path) -> None:
    device = Recorder(emulator(), tmp_path / "a.rec")
    device.close()
    device.close()
    found = Recording(tmp_path / "a.rec")
    assert (found.device, found.memory_bytes, found.config) == ("emulator", MEMORY, device.config)
    assert {"python", "numpy"} <= set(found.versions)
    head, end = [record.head for record in read_records(tmp_path / "a.rec")]
    assert head["abi"] == f"{ABI_MAJOR}.{ABI_MINOR}"
    assert head["config_digest"] == f"{device.config.digest:016x}"
    assert end == {"record": "end", "jobs": 0, "answers": 0, "arrays": []}
    assert (found.checked_jobs(), found.cut) == (0, "")


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    """The planes go into the file once, and a job like the one before adds little."""
    with Recorder(emulator(), tmp_path / "a.rec") as device:
        driver, data = Accelerator(device), layer(device, RULES, tokens=64)
        for _ in range(3):
            driver.attend(data.sequence, data.request(add_tokens=False, add_heads=False))
    first, _, third = (sum(data.size for _, data in job.memory) for job in jobs_of(tmp_path / "a.rec"))
    planes = data.sequence.uploaded_bytes
    assert first > planes
    assert third < 1024  # memory of the first job: the same queries and lists at the same place


def test_each_job_is_on_file_as_soon_as_it_ended(tmp_path: Path) -> None:
    """A process that dies leaves all jobs that ended, and the one that ran."""
    path = tmp_path / "a.rec"
    device = Recorder(emulator(), path)
    three_layers(device)
    pushed(device)
    found = Recording(path)
    jobs = list(found)
    assert [job.outcome is not None for job in jobs] == [True, True, True, False]
    assert found.cut == "the recording was never closed"
    device.close()
    assert jobs_of(path)[-1].outcome is not None  # it ended when the device was closed


def test_queued_jobs_run_one_at_a_time(tmp_path: Path) -> None:
    """So that each one's running importance is read before the next adds to it."""
    with Recorder(emulator(), tmp_path / "a.rec") as device:
        driver, data = Accelerator(device), layer(device, RULES, tokens=8)
        tickets = [
            driver.submit(data.sequence, data.request()) for _ in range(20)
        ]  # more than the queue takes
        results = [driver.wait(ticket) for ticket in tickets]
    sums = []
    for job, result in zip(jobs_of(tmp_path / "a.rec"), results, strict=True):
        assert job.outcome is not None
        assert job.outcome.status is result.answer.status is Status.DONE
        sums.append(int(job.outcome.parts["token_importance"].view("<u4").astype(np.int64).sum()))
    assert sums == sorted(set(sums))


def test_bare_registers_are_recorded_too(tmp_path: Path) -> None:
    with Recorder(emulator(), tmp_path / "a.rec") as device:
        driver, data = Accelerator(device), layer(device, RULES, tokens=8)
        ticket = driver._prepare(data.sequence, data.request())
        for _ in range(2):
            device.write_register("WATCHDOG", 1234)
            device.write_register("JOB_PUSH", ticket.descriptor.device_address)
            while not device.read_fields("STATUS")["IDLE"]:
                pass
        assert device.read_register("JOBS_DONE") == 2
    jobs = jobs_of(tmp_path / "a.rec")
    assert [job.outcome is not None and job.outcome.status for job in jobs] == [Status.DONE] * 2
    assert [job.registers for job in jobs] == [(("WATCHDOG", 1234),)] * 2
    assert replay(tmp_path / "a.rec", emulator()).equal == 2


def test_memory_that_was_there_before_is_fetched(tmp_path: Path) -> None:
    """A recording that begins in the middle of a run plays by itself."""
    inside = emulator()
    driver, data = Accelerator(inside), layer(inside, RULES, tokens=12)
    driver.attend(data.sequence, data.request())
    with Recorder(inside, tmp_path / "a.rec") as device:
        data.sequence.device = device
        Accelerator(device).attend(data.sequence, data.request(key_slots=np.array([1, 5, 8])))
    (job,) = jobs_of(tmp_path / "a.rec")
    assert sum(piece.size for _, piece in job.memory) < data.sequence.uploaded_bytes  # live rows alone
    assert replay(tmp_path / "a.rec", emulator()).equal == 1


def test_a_host_that_reads_the_status_in_memory(tmp_path: Path) -> None:
    """It may use the memory of a job again before it asks any register."""
    inside = emulator()
    with Recorder(inside, tmp_path / "a.rec") as device:
        _, ticket = pushed(device)
        inside.read_register("JOBS_DONE")  # the job runs; the recorder did not see it
        assert device.read_memory(ticket.answer.device_address + 12, 1)[0] == Status.DONE
        ticket.output[...] = 0xEE
        ticket.output.sync_to_device()
    (job,) = jobs_of(tmp_path / "a.rec")
    assert job.outcome is not None
    assert not (job.outcome.parts["output"] == 0xEE).all()


@pytest.mark.parametrize(
    ("changes", "status", "parts"),
    [
        ({"config_digest_lo": 1}, Status.BAD_DIGEST, {"answer": 256}),
        ({"keep_values": 0}, Status.BAD_FIELD, {"answer": 256}),
        ({"output_address": 8}, Status.BAD_ADDRESS, {"answer": 256}),
        ({"magic": 1}, Status.BAD_MAGIC, {}),
        ({"answer_address": 8}, Status.BAD_ADDRESS, {}),
        ({"answer_address": MEMORY}, Status.BAD_ADDRESS, {}),
    ],
)
def test_refused_jobs(tmp_path: Path, changes: dict[str, int], status: Status, parts: dict[str, int]) -> None:
    path = tmp_path / "a.rec"
    with Recorder(emulator(), path) as device:
        driver, ticket = pushed(device, **changes)
        with pytest.raises(JobError):
            driver.wait(ticket)
        three_layers(device)
    job, *rest = jobs_of(path)
    assert job.outcome is not None
    assert job.outcome.status is status
    assert {name: part.size for name, part in job.outcome.parts.items()} == parts
    assert ("CONTROL", 2) in rest[0].registers  # the driver cleared the error
    assert replay(path, emulator()).equal == 4


@pytest.mark.parametrize("address", [MEMORY - 128, MEMORY, 0xFFFFFFF0, 8])
def test_a_descriptor_that_is_not_there(tmp_path: Path, address: int) -> None:
    path = tmp_path / "a.rec"
    with Recorder(emulator(), path) as device:
        device.wait_for_jobs(device.push_job(address, 1.0), 1.0)
    (job,) = jobs_of(path)
    assert job.outcome is not None
    assert job.outcome.status is (Status.BAD_ADDRESS)
    assert replay(path, emulator()).equal == 1


def test_an_aborted_job_is_skipped_and_what_it_left_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    inside = emulator(hang=True)
    with Recorder(inside, path) as device:
        driver, data = Accelerator(device, timeout=0.02), layer(device, RULES, tokens=8)
        ticket = driver.submit(data.sequence, data.request())
        with pytest.raises(DeviceTimeoutError):
            driver.submit(data.sequence, data.request())
        # As a board may: importance was written in part when the abort came.
        inside._memory[data.sequence.token_importance.device_address] = 99
        device.abort()
        with pytest.raises(JobError):
            driver.wait(ticket)
        inside._hang = False
        driver.attend(data.sequence, data.request())
    aborted, done = jobs_of(path)
    assert aborted.outcome is not None
    assert aborted.outcome.status is Status.ABORTED
    assert done.registers == (("CONTROL", 0), ("CONTROL", 2))  # an abort is not played
    report = replay(path, emulator())
    assert (report.equal, report.skipped, report.differences) == (1, 1, [])


def test_a_clock_is_recorded_and_not_compared(tmp_path: Path) -> None:
    """A buffer whose place held cycle counts before is played as it was written."""
    path = tmp_path / "a.rec"
    with Recorder(clocked(5000), path) as device:
        results = three_layers(device)
        place = results[0].job["answer_address"]
        zeros = allocate(256, "u1", device)
        device.write_memory(place, np.asarray(zeros))
        growing(device)
    assert all(job.outcome is not None and job.outcome.cycles == 5032 for job in jobs_of(path))
    report = replay(path, clocked(10))
    assert (report.equal, report.jobs) == (8, 8)
    assert (report.recorded.cycles, report.replayed.cycles) == (8 * 5032, 8 * 42)
    assert report.recorded.seconds > 0 < report.replayed.seconds


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"cannot be written: No such file or directory"):
        Recorder(emulator(), tmp_path / "none" / "a.rec")


def test_a_full_disk_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"'/dev/full' cannot be written: No space left on device"):
        Recorder(emulator(), "/dev/full")


def test_a_disk_that_fills_up_in_a_run(tmp_path: Path) -> None:
    """The run stops; all jobs before are on file, and the device can be closed."""
    path = tmp_path / "a.rec"
    device = Recorder(emulator(), path)
    three_layers(device)
    with (
        room_for(path.stat().st_size + 100),
        pytest.raises(RecordingError, match=r"cannot be written: File too"),
    ):
        three_layers(device)
    device.close()
    found = Recording(path)
    assert [job.outcome is not None for job in found] == [True, True, True]
    assert found.cut == "the recording was never closed"


def test_a_debugging_emulator_inside(tmp_path: Path) -> None:
    """Buffers reach the device's guard: a sync that was forgotten still shows."""
    with Recorder(Emulator(memory_bytes=MEMORY, kernel="numpy", debug=True), tmp_path / "a.rec") as device:
        results = three_layers(device)
        assert all(
            r.answer.same_bits(b.answer) for r, b in zip(results, three_layers(emulator()), strict=True)
        )
        buffer = allocate(64, "u1", device)
        assert set(device.read_memory(buffer.device_address, 64)) == {0xA5}


def test_a_queue_that_stays_full(tmp_path: Path) -> None:
    with Recorder(emulator(hang=True), tmp_path / "a.rec") as device:
        driver, data = Accelerator(device, timeout=0.02), layer(device, RULES, tokens=4)
        driver.submit(data.sequence, data.request())
        with pytest.raises(DeviceError, match=r"job 1 not done within 0.02 s"):
            driver.submit(data.sequence, data.request())
