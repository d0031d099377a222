# SPDX-License-Identifier: BSD-2-Clause
"""A RISC-V compiler under the names that LiteX's makefiles call, out of the ``ziglang`` wheel.

Its program holds clang, lld, ar and objcopy: one file, pinned, so software has the same bytes on every
machine. It is called as clang itself, not as ``zig cc``, which adds checks and a cache, and refuses GNU
linker options.
"""

from __future__ import annotations

import importlib.util
import shlex
from importlib import metadata
from pathlib import Path

from spatten_fpga.sim.verilator import ToolError

NEEDS = "It needs pip install 'spatten[cpu]', and make"
#: Packages whose versions decide the bytes of a processor and of its software.
PACKAGES = (
    "pythondata-cpu-serv",
    "pythondata-software-picolibc",
    "pythondata-software-compiler-rt",
    "meson",
    "ziglang",
)
TRIPLE = "riscv32-unknown-elf"

#: clang knows no version 2.0 of the base instructions, which LiteX asks for; its own has what SERV has, CSRs
#: too. The last ``-march`` counts.
MACHINE = "-march=rv32i"
#: Neither headers nor options of this machine.
ALONE = ("-nostdinc", "--no-default-config", "-Wno-unused-command-line-argument")

#: clang's driver refuses ``-N`` (no pages in what is linked), which its linker knows.
CC = """\
for word do
  shift
  case $word in -N) word=-Wl,-N ;; esac
  set -- "$@" "$word"
done
exec {zig} clang -target {triple} {options} "$@" {machine}
"""
#: picolibc has one constructor, of a guard of the stack that LiteX leaves out, and LiteX's start calls none.
#: LiteX's linker script does not name its section; lld would load it where it runs, megabytes behind the ROM.
DISCARD = "SECTIONS { /DISCARD/ : { *(.init_array) } }\n"
#: LiteX prints how full memories are, out of what this says; the linker refuses what does not fit.
READELF = "echo 'The wheel has no readelf: the usage that follows is not known.' >&2\n"


def versions() -> dict[str, str]:
    """Of :data:`PACKAGES`, by name.

    Raises
    ------
    ToolError : one is not installed.
    """
    try:
        return {name: metadata.version(name) for name in PACKAGES}
    except metadata.PackageNotFoundError as error:
        raise ToolError(f"a processor cannot be built: {error.name} is not installed. {NEEDS}") from error


def write_tools(folder: Path, package: Path | None = None) -> None:
    """Write the tools into a folder, as scripts that call the wheel's program.

    Parameters
    ----------
    folder : where; to be put first on PATH.
    package : the wheel's folder; that of this environment unless given.

    Raises
    ------
    ImportError : the wheel is not installed.
    """
    package = package or _installed()
    zig = shlex.quote(str(package / "zig"))
    linker, discard = folder / f"{TRIPLE}-ld", folder / "discard.ld"
    discard.write_text(DISCARD, "utf-8")
    options = [*ALONE, "-isystem", str(package / "lib" / "include"), f"--ld-path={linker}"]
    scripts = {
        "gcc": CC.format(zig=zig, triple=TRIPLE, options=shlex.join(options), machine=MACHINE),
        "ld": f'exec {zig} ld.lld "$@" {shlex.quote(str(discard))}\n',
        "gcc-ar": f'exec {zig} ar "$@"\n',
        "objcopy": f'exec {zig} objcopy "$@"\n',
        "readelf": READELF,
    }
    for name, script in scripts.items():
        path = folder / f"{TRIPLE}-{name}"
        path.write_text(f"#!/bin/sh\n{script}", "utf-8")
        path.chmod(0o755)


def _installed() -> Path:
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        raise ImportError("no ziglang")
    return Path(found.origin).parent
