# SPDX-License-Identifier: BSD-2-Clause
"""A device that answers otherwise than the contract is caught, and the job is made small."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spatten_drivers import Accelerator, Device, Emulator, KeyPolicy, Quantization, ValuePolicy
from spatten_drivers.errors import (
    ConfigError,
    DeviceDifferenceError,
    DeviceTimeoutError,
    JobError,
    RecordingError,
)
from spatten_drivers.job import decode_header
from spatten_drivers.recording import Recorder, Recording, Shadow, replay

from ..floats import layer
from .devices import RULES, Altered, clocked, emulator, flipping_a_bit, growing, ignoring, three_layers
from .test_recorder import pushed

WHOLE, SMALL = "spatten-difference-job{}.rec", "spatten-difference-job{}-small.rec"


def shadow(device: Device, folder: Path, **options: Any) -> Shadow:
    return Shadow(device, **{"folder": folder, "kernel": "numpy", **options})


def caught(device: Device, folder: Path, run: Callable[[Device], object], **options: Any) -> str:
    """The message of the difference that a run must show."""
    with shadow(device, folder, **options) as watched, pytest.raises(DeviceDifferenceError) as error:
        run(watched)
    return str(error.value)


def test_a_right_device_passes(tmp_path: Path) -> None:
    with shadow(emulator(), tmp_path / "made") as device:
        bare, watched = three_layers(emulator()), three_layers(device)
        growing(device)
        assert (device.jobs, device.compared) == (8, 8)
    assert all(a.answer.same_bits(b.answer) for a, b in zip(bare, watched, strict=True))
    assert list((tmp_path / "made").iterdir()) == []


def test_cycles_are_no_difference(tmp_path: Path) -> None:
    with shadow(clocked(), tmp_path) as device:
        three_layers(device)
        assert device.compared == 3


POLICIES = [
    Quantization.static(8),
    RULES,
    Quantization(10, 6, 4, 6, 4, KeyPolicy.ALWAYS, ValuePolicy.MSB_ONLY),
    Quantization(10, 6, 4, 6, 4, KeyPolicy.MSB_ONLY, ValuePolicy.ALWAYS),
    Quantization(10, 6, 4, 6, 4, KeyPolicy.PROGRESSIVE, ValuePolicy.ALWAYS),
    Quantization.by_key(4, 4, 1 / 16),
]


@pytest.mark.parametrize("rules", POLICIES, ids=lambda q: f"{q.k_policy.name}-{q.v_policy.name}-{q.k_bits}")
@pytest.mark.parametrize("add", [False, True])
def test_a_job_reads_no_more_than_its_case_holds(tmp_path: Path, rules: Quantization, add: bool) -> None:
    """All other memory may hold anything: the model, which starts from zeros, gives the same bits."""
    inside = emulator()
    inside._memory[:] = 0xA5
    with shadow(inside, tmp_path) as device:
        driver, data = Accelerator(device), layer(device, rules, tokens=10)
        changes = {"heads": np.array([0, 2]), "queries": data.q[[0, 2]], "key_slots": np.array([0, 3, 4, 9])}
        driver.attend(data.sequence, data.request(add_tokens=add, add_heads=add, **changes))
        assert device.compared == 1


def test_a_wrong_bit_is_caught_kept_and_made_small(tmp_path: Path) -> None:
    """The fault needs eight keys: eight keys, one query and one head are left."""

    def faulty() -> Altered:
        return flipping_a_bit("output", 7, lambda f: f["n_keys"] >= 8 and f["add_tokens"] == 1)

    lines: list[str] = []
    message = caught(faulty(), tmp_path, three_layers, progress=lines.append)
    whole, small = tmp_path / WHOLE.format(2), tmp_path / SMALL.format(2)
    assert message.startswith("emulator: job 2 (id 2, layer 0) differs from the software model in output[")
    assert message.endswith(
        f"The job and the memory it reads are in {whole}; {len(lines)} trials shrank it to heads 1, queries "
        f"1, keys 8: see it with `spatten replay {small}`"
    )
    assert 10 < len(lines) < 100
    assert lines[0] == "shrinking, trial 1 of 200: heads 1, queries 16, keys 16"
    (job,) = Recording(small)
    fields = decode_header(job.descriptor)
    assert (fields["n_heads"], fields["n_queries"], fields["n_keys"]) == (1, 1, 8)
    assert (fields["k_lsb_bits"], fields["keep_values"], fields["add_heads"]) == (0, 0xFFFF, 0)
    assert sum(d.size for _, d in job.memory) < sum(d.size for j in Recording(whole) for _, d in j.memory) / 3
    for path in (whole, small):
        assert replay(path, emulator()).equal == 1
        (found,) = replay(path, faulty()).differences
        assert (found.layer, found.difference.field) == (0, "output")
        assert Recording(path).device == "software model"
    assert Recording(small).about.startswith("shrunk from: emulator: job 2 (id 2, layer 0) differs")


@pytest.mark.parametrize(
    ("field", "value", "most_keys"),
    [("keep_values", 0xFFFF, 6), ("causal", 0, 2)],  # of more than 5 values one must be dropped
)
def test_an_ignored_field_is_what_is_left(tmp_path: Path, field: str, value: int, most_keys: int) -> None:
    """Everything else becomes plain; the field that matters stays."""
    caught(ignoring(field, value), tmp_path, growing)
    (path,) = tmp_path.glob("*-small.rec")
    (job,) = Recording(path)
    fields = decode_header(job.descriptor)
    assert fields[field] != value
    plain = {"add_tokens": 0, "add_heads": 0, "k_policy": 0, "v_lsb_bits": 0, "n_heads": 1}
    assert {name: fields[name] for name in plain} == plain
    assert (fields["n_queries"], fields["n_keys"]) == (1, most_keys)
    assert not replay(path, ignoring(field, value)).same_bits
    assert replay(path, emulator()).same_bits


def test_a_wrong_status_and_a_check_that_is_missing(tmp_path: Path) -> None:
    """A job that is to be refused and is not cannot be made smaller, but it is kept."""
    inside = ignoring("keep_values", 3)

    def run(device: Device) -> None:
        driver, ticket = pushed(device, keep_values=0)
        driver.wait(ticket)

    message = caught(inside, tmp_path, run)
    path = tmp_path / WHOLE.format(1)
    assert (
        "differs from the software model in status: expected BAD_FIELD, got DONE. The job and the memory"
        in message
    )
    assert message.endswith(f"are in {path}; see it with `spatten replay {path}`")
    assert not replay(path, ignoring("keep_values", 3)).same_bits
    assert replay(path, emulator()).same_bits


def test_refused_jobs_are_compared_too(tmp_path: Path) -> None:
    """Also when an older error stands in the register, which nobody cleared."""
    with shadow(emulator(), tmp_path) as device:
        for changes in ({"keep_values": 0}, {"magic": 1}, {"answer_address": 8}):
            _, ticket = pushed(device, **changes)
            device.wait_for_jobs(ticket.number, 1.0)
        device.clear_error()
        driver, ticket = pushed(device, magic=1)
        with pytest.raises(JobError):
            driver.wait(ticket)
        assert device.compared == 4


def test_an_aborted_job_is_not_compared(tmp_path: Path) -> None:
    inside = emulator(hang=True)
    with shadow(inside, tmp_path) as device:
        driver, ticket = pushed(device)
        device.abort()
        with pytest.raises(JobError):
            driver.wait(ticket)
        inside._hang = False
        three_layers(device)
        assert (device.jobs, device.compared) == (4, 3)


def test_a_fault_that_comes_and_goes(tmp_path: Path) -> None:
    left = [1]

    def once(fields: dict[str, int]) -> bool:
        return fields["job_id"] == 2 and bool(left) and bool(left.pop())

    message = caught(flipping_a_bit("output", 7, once), tmp_path, three_layers)
    path = tmp_path / WHOLE.format(2)
    assert message.endswith("; run once more it gave the right bits, so the fault comes and goes")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_budget_of_trials(tmp_path: Path) -> None:
    lines: list[str] = []
    caught(flipping_a_bit("output", 7), tmp_path, three_layers, trials=3, progress=lines.append)
    assert len(lines) == 3
    message = caught(flipping_a_bit("output", 7), tmp_path / "none", three_layers, trials=0)
    path = tmp_path / "none" / WHOLE.format(1)
    assert message.endswith(f"are in {path}; see it with `spatten replay {path}`")


def test_a_job_that_hangs_while_it_is_made_smaller(tmp_path: Path) -> None:
    """The smallest one that ended is kept, and the device is free again."""
    inside = flipping_a_bit("output", 7)
    flip = inside.after

    def hang_soon(device: Altered, address: int, fields: dict[str, int]) -> None:
        flip(device, address, fields)
        device._hang = fields["n_queries"] == 12

    inside.after = hang_soon
    message = caught(inside, tmp_path, three_layers, timeout=0.02)
    assert "of which the last did not end, shrank it to heads 1, queries 12, keys 24" in message
    assert inside.read_fields("STATUS")["IDLE"] == 1


def test_memory_is_as_the_device_left_it(tmp_path: Path) -> None:
    inside, bare = flipping_a_bit("output", 7), flipping_a_bit("output", 7)
    driver = Accelerator(bare)
    data = layer(bare, RULES, tokens=24)
    driver.attend(data.sequence, data.request(keep_tokens=16))

    def run(device: Device) -> None:
        data = layer(device, RULES, tokens=24)
        Accelerator(device).attend(data.sequence, data.request(keep_tokens=16))

    caught(inside, tmp_path, run)
    np.testing.assert_array_equal(inside._memory, bare._memory)


def test_a_seeded_share(tmp_path: Path) -> None:
    def numbers(seed: int) -> int:
        with shadow(emulator(), tmp_path, share=0.4, seed=seed) as device:
            driver, data = Accelerator(device), layer(device, RULES, tokens=4)
            picked = 0
            for number in range(30):
                driver.attend(data.sequence, data.request())
                picked |= (device.compared > picked.bit_count()) << number
            return picked

    first = numbers(1)
    assert first == numbers(1) != numbers(2)
    assert 5 <= first.bit_count() <= 20


def test_jobs_after_some_that_were_not_compared(tmp_path: Path) -> None:
    """Running importance of jobs that were not compared is taken from the device."""
    with shadow(emulator(), tmp_path, share=0.5) as device:
        growing(device)
        three_layers(device)
        assert 0 < device.compared < device.jobs


def test_recorded_and_shadowed(tmp_path: Path) -> None:
    """The recording holds what the device answered, the wrong job last."""
    inside = flipping_a_bit("output", 7, lambda f: f["job_id"] == 2)
    device = Recorder(shadow(inside, tmp_path), tmp_path / "a.rec")
    with device, pytest.raises(DeviceDifferenceError):
        three_layers(device)
    report = replay(tmp_path / "a.rec", emulator())
    assert (report.equal, [d.job for d in report.differences]) == (1, [2])


@pytest.mark.parametrize("options", [{"share": 0.0}, {"share": 1.5}, {"trials": -1}])
def test_options_out_of_range(tmp_path: Path, options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"^shadow: share .*; expected a share above 0 and at most 1"):
        shadow(emulator(), tmp_path, **options)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match=r"file/x' cannot be made: Not a directory; name one that can"):
        shadow(emulator(), tmp_path / "file" / "x")


def test_a_folder_that_went_away(tmp_path: Path) -> None:
    inside = flipping_a_bit("output", 7)
    device = shadow(inside, tmp_path / "x")
    (tmp_path / "x").rmdir()
    with pytest.raises(DeviceDifferenceError, match=r"differs from .* It could not be kept: recording "):
        three_layers(device)


def test_a_device_that_never_answers(tmp_path: Path) -> None:
    with shadow(Emulator(memory_bytes=1 << 20, hang=True), tmp_path) as device:
        driver, data = Accelerator(device, timeout=0.02), layer(device, RULES, tokens=4)
        with pytest.raises(DeviceTimeoutError):
            driver.attend(data.sequence, data.request())
