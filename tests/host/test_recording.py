# SPDX-License-Identifier: BSD-2-Clause
"""Whole models recorded and shadowed: a BERT, a GPT-2 with a growing cache, and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

import spatten
from spatten.cli import app
from spatten_drivers import Device, Emulator
from spatten_drivers.errors import DeviceDifferenceError
from spatten_drivers.job import HEADER_BYTES, decode_header
from spatten_drivers.recording import Recorder, Recording, Shadow, replay
from tests.host.tiny_models import sharp_bert, sharp_gpt2, tiny_bert, tokens

MEMORY = 1 << 22
TEXT = "the whale rose from a dark sea and one ship sank near its coast"


def emulator() -> Emulator:
    return Emulator(memory_bytes=MEMORY, kernel="numpy")


def bert(device: Device) -> tuple[list[float], str]:
    """Three rows through a pruned BERT: the last number of each, and the digest of all answers."""
    model = sharp_bert()
    with spatten.attach(model, schedule="paper-bert", device=device) as session, torch.inference_mode():
        states = model(tokens(3, 20)).last_hidden_state
        return states[:, -1, -1].tolist(), session.record.digest


def gpt2(device: Device) -> tuple[list[int], str]:
    """A prompt and eight tokens through a pruned GPT-2."""
    model = sharp_gpt2()
    with spatten.attach(model, schedule="paper-gpt2", device=device) as session, torch.inference_mode():
        written = model.generate(tokens(2, 10), max_new_tokens=8, do_sample=False)
        return written.flatten().tolist(), session.record.digest


@pytest.mark.parametrize(("run", "jobs"), [(bert, 3 * 4), (gpt2, 2 * 4 * 8)])
def test_a_model_recorded_shadowed_and_replayed(
    tmp_path: Path, run: Callable[[Device], Any], jobs: int
) -> None:
    path, shadow = tmp_path / "a.rec", Shadow(emulator(), folder=tmp_path, kernel="numpy")
    with Recorder(shadow, path) as device:
        assert run(device) == run(emulator())
        assert (device.jobs, shadow.jobs, shadow.compared) == (jobs, jobs, jobs)
    assert sorted({job.layer for job in Recording(path)}) == [0, 1, 2, 3]
    report = replay(path, emulator())
    assert (report.jobs, report.equal, report.cut) == (jobs, jobs, "")


class Deaf(Emulator):
    """In layers that have few keys it reads no LSBs of V, and drops no value in those that have fewer."""

    def _run_next_job(self) -> None:
        if not self._queue:
            return
        words = self._memory[self._queue[0] : self._queue[0] + HEADER_BYTES].view("<u4")
        fields = decode_header(words.view("u1"))
        before = words.copy()
        if fields["n_keys"] < 14:
            words[11] &= ~np.uint32(3 << 22)  # v_policy
        if fields["n_keys"] < 8:
            words[9] |= np.uint32(0xFFFF << 16)  # keep_values
        super()._run_next_job()
        words[...] = before


def test_a_fault_in_a_model_is_caught_with_its_layer(tmp_path: Path) -> None:
    with (
        Shadow(Deaf(memory_bytes=MEMORY, kernel="numpy"), folder=tmp_path, kernel="numpy") as device,
        pytest.raises(DeviceDifferenceError) as error,
    ):
        gpt2(device)
    (small,) = tmp_path.glob("*-small.rec")
    (job,) = Recording(small)
    assert f"job {device.jobs} (id {job.job_id}, layer {job.layer}) differs" in str(error.value)
    fields = decode_header(job.descriptor)
    assert (fields["n_heads"], fields["n_queries"]) == (1, 1)
    assert fields["keep_values"] < fields["n_keys"] < 8  # what matters is left
    assert job.layer == 1
    assert replay(small, emulator()).same_bits
    assert not replay(small, Deaf(memory_bytes=MEMORY, kernel="numpy")).same_bits


# ------------------------------------------------------------------------------------------- command line


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def recorded(model: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    path = tmp_path_factory.mktemp("cli") / "run.rec"
    options = ("--device", "emulator", "--schedule", "paper-bert", "--kernel", "numpy")
    return path, command("run", TEXT, "--model", model, *options, "--record", path, "--shadow", "1")


PLAY = ("--device", "emulator?kernel=numpy")


def test_run_says_what_it_recorded_and_compared(recorded: tuple[Path, Result]) -> None:
    path, result = recorded
    assert result.exit_code == 0, result.stderr
    lines = result.stderr.splitlines()
    assert f"recording: {path}, 4 jobs" in lines
    assert "shadow: 4 of 4 jobs compared with the software model, all equal" in lines


def test_eval_records_too(model: str, tmp_path: Path) -> None:
    path = tmp_path / "eval.rec"
    result = command("eval", TEXT, "--model", model, *PLAY, "--record", path)
    assert result.exit_code == 0, result.stderr
    assert replay(path, emulator()).equal == 4


def test_replay_shows_equal(recorded: tuple[Path, Result]) -> None:
    result = command("replay", recorded[0], *PLAY)
    assert result.exit_code == 0, result.stderr
    assert "equal: 4 of 4 jobs have the same bits" in result.stdout
    assert "recorded   emulator" in result.stdout


def test_replay_as_json(recorded: tuple[Path, Result]) -> None:
    result = command("replay", recorded[0], *PLAY, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["jobs"], found["equal"], found["same_bits"]) == (0, 4, 4, True)


def test_a_difference_is_exit_code_1(recorded: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch) -> None:
    device = Deaf(memory_bytes=MEMORY, kernel="numpy")
    monkeypatch.setattr("spatten.cli.replay.open_device", lambda *_, **__: device)
    result = command("replay", recorded[0])
    assert result.exit_code == 1
    assert "not equal: " in result.stdout
    assert "differs job " in result.stdout
    monkeypatch.setattr(
        "spatten.cli.replay.open_device", lambda *_, **__: Deaf(memory_bytes=MEMORY, kernel="numpy")
    )
    result = command("replay", recorded[0], "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert {"job", "job_id", "layer", "difference"} == set(found["differences"][0])


def test_a_shadow_that_finds_something_is_exit_code_3(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "spatten.cli.options.open_device", lambda *_, **__: Deaf(memory_bytes=MEMORY, kernel="numpy")
    )
    result = command("run", TEXT, "--model", model, "--schedule", "paper-bert", "--shadow", "1")
    assert result.exit_code == 3
    assert "differs from the software model in " in result.stderr
    assert "shrinking, trial 1 of 200: " in result.stderr
    (small,) = tmp_path.glob("*-small.rec")
    assert f"spatten replay {small.name}" in result.stderr.replace("\n", " ")


def test_a_cut_file_is_played_and_said_to_be_cut(recorded: tuple[Path, Result], tmp_path: Path) -> None:
    cut = tmp_path / "cut.rec"
    cut.write_bytes(recorded[0].read_bytes()[:-200])
    result = command("replay", cut, *PLAY)
    assert result.exit_code == 0
    assert f"{str(cut)!r} lacks its end: the file ends in the middle of the record at byte" in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"hello", "is no recording: it begins with b'he'"), (b"\x1f\x8b", "ends in its first record")],
)
def test_no_recording(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.rec"
    path.write_bytes(content)
    result = command("replay", path)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "using emulator" not in result.stderr  # refused before a device was opened


def test_a_device_of_another_configuration(recorded: tuple[Path, Result]) -> None:
    result = command("replay", recorded[0], "--device", "emulator?preset=ecp5-25f")
    assert result.exit_code == 1
    assert "lanes is 64 there and 8 here" in result.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--shadow", "2"), 2, "less than or equal to 1"),
        (("--shadow", "0"), 1, "expected a share above 0 and at most 1"),
        (("--record", "/nowhere/a.rec"), 1, "cannot be written: No such file or directory"),
    ],
)
def test_wrong_options(options: tuple[str, str], code: int, message: str) -> None:
    result = command("run", TEXT, "--device", "emulator", *options)
    assert result.exit_code == code
    assert message in result.stderr
