# SPDX-License-Identifier: BSD-2-Clause
"""Runs targets in processes of their own, once each."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp


def run(module: str, *arguments: str, hash_seed: int = 1) -> subprocess.CompletedProcess[str]:
    """``python -m module arguments``; the order of Python's sets is another by ``hash_seed``."""
    here = {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    call = [sys.executable, "-m", module, *arguments]
    return subprocess.run(call, env={**os.environ, **here}, capture_output=True, text=True, check=False)


@cache
def hollow(name: str, *options: str, hash_seed: int = 1) -> Path:
    """The files of a target whose core is hollow."""
    folder = Path(mkdtemp(prefix=f"{name}-"))
    given = [name, "--build", "--stop-after", "verilog", "--output-dir", str(folder), *options]
    done = run("tests.fpga.targets.hollow", *given, hash_seed=hash_seed)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
