# SPDX-License-Identifier: BSD-2-Clause
"""LiteX's BIOS for a system with a processor: compiled, and put into its ROM."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from litex.soc.integration.builder import Builder

from spatten_fpga.sim.verilator import ToolError

from .riscv import NEEDS, TRIPLE, write_tools


def compile_bios(soc, folder: Path) -> None:
    """Compile the BIOS of a system that has a processor and no tool flow of its own, and fill its ROM.

    Parameters
    ----------
    soc : it; finalised by this.
    folder : where the software is compiled; what the compilers say is in ``bios.log``.

    Raises
    ------
    ToolError : a compiler or package is missing or refused.
    """
    run_builder(Builder(soc, output_dir=str(folder), compile_gateware=False), folder)


def run_builder(builder: Builder, folder: Path, **options: Any) -> Any:
    """What LiteX's ``Builder`` of a system with a processor gives; all it says goes to ``bios.log``.

    Raises
    ------
    ToolError : a compiler or package is missing or refused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.resolve() / "bios.log"
    try:
        with _said_to(log), _tools():
            return builder.build(**options)
    except (OSError, ImportError, subprocess.CalledProcessError) as error:
        raise ToolError(
            f"the BIOS cannot be compiled: {error}\n{log.read_text('utf-8', 'replace')[-2000:]}{NEEDS}"
        ) from error


@contextmanager
def _said_to(log: Path) -> Iterator[None]:
    """What this process and its children write to stdout and stderr goes to a file."""
    kept = os.dup(1), os.dup(2)
    with log.open("wb") as file:
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield
        finally:
            sys.stdout.flush()
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)


@contextmanager
def _tools() -> Iterator[None]:
    """What LiteX's makefiles call is of this environment: the compiler, meson, ninja, and python3 with LiteX.

    Nothing that was given to a ``make`` above may reach them. LiteX also writes the commit of the tree around
    it into the ROM as its own; the ROM must be the same for all, so there is none.
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="spatten-riscv-") as folder:
        try:
            write_tools(Path(folder))
            path = (folder, str(Path(sys.executable).parent), before.get("PATH", ""))
            os.environ["PATH"] = os.pathsep.join(path)
            os.environ["PYTHON"] = "python3"
            os.environ["LITEX_ENV_CC_TRIPLE"] = TRIPLE
            os.environ["GIT_DIR"] = os.devnull
            os.environ.pop("MAKEFLAGS", None)
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
