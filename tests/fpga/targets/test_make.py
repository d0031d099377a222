# SPDX-License-Identifier: BSD-2-Clause
"""The Makefile's goals for boards: a wrong name is told at once, a bitstream takes no models."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from spatten_fpga.targets import NAMES

ROOT = Path(__file__).parents[3]


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """What make would do, called by a user: it says more to a make that runs the tests."""
    called = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(
        ["make", "--dry-run", *words], cwd=ROOT, env=called, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("board", ["nosuch", "flow", "", "%", "ecpix5 ulx3s"])
@pytest.mark.parametrize("goal", ["bitstream", "rebuild", "seeds"])
def test_a_wrong_board_is_told_before_anything_is_done(goal: str, board: str) -> None:
    done = make(goal, f"BOARD={board}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert f'BOARD is "{board}"; expected one of {" ".join(NAMES)}.  Stop.' in done.stderr


def test_other_goals_do_not_look_at_it() -> None:
    assert make("help", "BOARD=nosuch").returncode == 0


def test_every_board_can_be_built() -> None:
    for name in NAMES:
        assert f"-m spatten_fpga.targets {name} --build" in make("bitstream", f"BOARD={name}").stdout


def test_a_bitstream_takes_no_environment_of_models() -> None:
    installed = make("--always-make", "bitstream").stdout
    assert re.findall(r"-e '\.\[(.*)\]'", installed) == ["fpga,cpu", "synth"]
    assert "torch" not in installed
