# SPDX-License-Identifier: BSD-2-Clause
"""The programs of docs/pynq.md do what the page says."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "pynq.md"
FIRST, FLOATS, _ = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def said_by(program: str, folder: Path) -> str:
    """Output of a program of the page, run as the page says, in a folder with its bitstream."""
    (folder / "first.py").write_text(program, "utf-8")
    (folder / "spatten.bit").touch()
    command = [sys.executable, "-W", "ignore", "-m", "spatten_drivers.pynq_bridge", "first.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_program(tmp_path: Path) -> None:
    said = said_by(FIRST, tmp_path).strip()
    assert said == "idle 1 status of the job 3"
    assert f"It prints `{said}`" in PAGE.read_text("utf-8")


def test_floats_in_floats_out(tmp_path: Path) -> None:
    assert re.fullmatch(r"pynq emulator \(2, 8, 32\) \[\d \d \d\]\n", said_by(FLOATS, tmp_path))
