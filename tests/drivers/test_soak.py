# SPDX-License-Identifier: BSD-2-Clause
"""The soak finds nothing on a right device, and what is wrong with one that is not."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import pytest

from spatten_drivers import Device, Emulator
from tests.drivers.recording.devices import emulator, flipping_a_bit
from tests.soak.__main__ import main
from tests.soak.flat import MEMORY_SLACK, Sample, growth, is_flat
from tests.soak.jobs import config_of, drawn
from tests.soak.run import soak


def test_a_second_on_the_emulator() -> None:
    """As `make soak` calls it, in a process that nothing else grows in."""
    command = [sys.executable, "-m", "tests.soak", "--device", "emulator?memory=1MiB&kernel=numpy"]
    done = subprocess.run([*command, "--minutes", "0.02", "--reopen", "20"], capture_output=True, text=True)
    said = done.stdout.splitlines()
    assert said[1] == "every byte as the software model leaves it"
    assert (done.returncode, said[-1]) == (0, "FLAT"), done.stdout


def test_jobs_of_every_kind_are_drawn_and_alike_each_time() -> None:
    config = config_of(emulator())
    kinds = [drawn(config, 0, number).kind for number in range(200)]
    assert set(kinds) == {"whole", "broken", "aborted"}
    assert drawn(config, 0, 7) == drawn(config, 0, 7) != drawn(config, 1, 7)


def test_a_wrong_bit_ends_it_with_the_job() -> None:
    run = soak(partial(flipping_a_bit, "output", 0), 30.0)
    assert not run.is_good
    assert "of seed 0 (whole ): 1 bytes differ; output + 0" in run.text()
    assert run.jobs["whole"] == 1


def test_a_device_that_fails_is_another_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "emulator?nonsense=1"]) == 2
    assert "error: the emulator has no option" in capsys.readouterr().err


class Leaking(Emulator):
    """Opens a file that nobody closes; the list is the test's, which does."""

    def __init__(self, files: list[int]) -> None:
        files.append(os.open("/dev/null", os.O_RDONLY))
        super().__init__(memory_bytes=1 << 20, kernel="numpy")


def test_files_that_opening_leaves_are_seen() -> None:
    files: list[int] = []

    def leaking() -> Device:
        return Leaking(files)

    try:
        run = soak(leaking, 0.5, reopen=1)
    finally:
        for file in files:
            os.close(file)
    assert growth(run.samples).files > 0
    assert run.text().endswith("NOT FLAT")


def test_what_is_flat() -> None:
    warm = [Sample(size << 20, 5) for size in (1, 40, 80)] + [Sample(100 << 20, 9)] * 9
    assert growth(warm) == Sample(0, 0)
    steady = [Sample((100 << 20) + (n << 20), 5) for n in range(40)]
    assert growth(steady).resident == 20 << 20 > MEMORY_SLACK
    assert not is_flat(growth(steady))
    assert not is_flat(Sample(0, 1))
    assert is_flat(Sample(MEMORY_SLACK, 0))
    with pytest.raises(ValueError, match="2 samples; expected 8"):
        growth([Sample(1, 1)] * 2)
