# SPDX-License-Identifier: BSD-2-Clause
"""The RISC-V compiler out of a wheel: what it is told, what it makes, that a BIOS has the same bytes."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from spatten_fpga.sim.verilator import ToolError
from spatten_fpga.soc import riscv
from spatten_fpga.soc.riscv import TRIPLE, versions, write_tools

#: A system's memory as LiteX gives it to the linker: what is in ``data`` at first lies in ROM.
SCRIPT = """
ENTRY(_start)
MEMORY { rom : ORIGIN = 0, LENGTH = 0x1000  sram : ORIGIN = 0x01000000, LENGTH = 0x1000 }
SECTIONS
{
    .text : { *(.text .text.*) } > rom
    .data : { *(.data .sdata) } > sram AT > rom
}
"""
PROGRAM = """
#include <stdint.h>
int32_t kept = 0x600df00d;
int32_t times(int32_t a, int32_t b) { return a * b; }
int32_t __mulsi3(int32_t a, int32_t b) { int32_t s = 0; while (a--) s += b; return s; }
__attribute__((constructor)) static void early(void) { __asm__ volatile(""); kept = 7; }
void _start(void) { __asm__("csrw mtvec, %0" :: "r"(times(kept, 3))); }
"""
AS_LITEX = ("-march=rv32i2p0", "-mabi=ilp32", "-Os", "-g3", "-no-pie", "-fexceptions")


def call(folder: Path, tool: str, *words: str) -> str:
    done = subprocess.run([folder / f"{TRIPLE}-{tool}", *words], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout


def test_what_the_compiler_is_told(tmp_path: Path) -> None:
    """LiteX's words in their order, but for the linker's; folders with spaces stay whole."""
    package, tools = tmp_path / "the wheel", tmp_path / "the tools"
    for folder in (package, tools):
        folder.mkdir()
    (package / "zig").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (package / "zig").chmod(0o755)
    write_tools(tools, package)
    words = ["-march=rv32i2p0", "-DNAME=two words", "-N", "-Wl,-Map,a.map", "-o", "a.elf", "it's.o"]
    said = call(tools, "gcc", *words).splitlines()
    assert said[:3] == ["clang", "-target", TRIPLE]
    assert f"--ld-path={tools}/{TRIPLE}-ld" in said
    assert said[said.index("-isystem") + 1] == str(package / "lib" / "include")
    assert said[-len(words) - 1 :] == [
        *[{"-N": "-Wl,-N"}.get(word, word) for word in words],
        "-march=rv32i",
    ]
    assert call(tools, "gcc-ar", "crs", "a b.a", "c.o").splitlines() == ["ar", "crs", "a b.a", "c.o"]


def test_what_the_compiler_makes(tmp_path: Path) -> None:
    """Base instructions only, in a ROM that holds what it must and no constructor that nobody calls."""
    pytest.importorskip("ziglang", reason="pip install 'spatten[cpu]': ziglang is not installed")
    write_tools(tmp_path)
    (tmp_path / "a.c").write_text(PROGRAM)
    (tmp_path / "a.ld").write_text(SCRIPT)
    compiled, linked, rom = (str(tmp_path / name) for name in ("a.o", "a.elf", "a.bin"))
    call(tmp_path, "gcc", *AS_LITEX, "-c", str(tmp_path / "a.c"), "-o", compiled)
    link = ("-nostdlib", "-nodefaultlibs", "-T", str(tmp_path / "a.ld"), "-N", f"-Wl,-Map,{linked}.map")
    call(tmp_path, "gcc", *link, *AS_LITEX, "-o", linked, compiled)
    call(tmp_path, "objcopy", "-O", "binary", linked, rom)
    elf, image = Path(linked).read_bytes(), Path(rom).read_bytes()
    assert (elf[4], int.from_bytes(elf[18:20], "little")) == (1, 243)  # 32 bits, RISC-V
    assert int.from_bytes(elf[36:40], "little") == 0  # no compressed instructions, no floats in registers
    assert b"rv32i2p1" in elf
    assert image[-4:] == (0x600DF00D).to_bytes(4, "little")
    words = [int.from_bytes(image[at : at + 4], "little") for at in range(0, len(image) - 4, 4)]
    assert {word & 3 for word in words} == {3}  # a whole word each
    assert not [word for word in words if word & 0xFE00007F == 0x02000033]  # multiply or divide


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert versions() == {name: metadata.version(name) for name in riscv.PACKAGES}
    monkeypatch.setattr(riscv, "PACKAGES", ("spatten-nothing",))
    with pytest.raises(ToolError, match=r"spatten-nothing is not installed\. It needs pip install"):
        versions()


@pytest.mark.deep
def test_a_bios_has_the_same_bytes_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And below any ``make``; it fits its ROM, and nothing in it says where it was compiled or when.

    Some two minutes of a CPU.
    """
    from spatten_fpga.soc.bios import compile_bios
    from spatten_fpga.soc.processor import OPTIONS
    from spatten_fpga.soc.simulation import BOARDS, SimulatedSoc

    images = []
    for folder in (tmp_path / "one", tmp_path / "two" / "deeper"):
        compile_bios(SimulatedSoc(BOARDS["small"], cpu_type="serv"), folder)
        images.append((folder / "software" / "bios" / "bios.bin").read_bytes())
        monkeypatch.setenv("MAKEFLAGS", "-- PYTHON=missing")  # of make PYTHON=missing, for the second
        monkeypatch.setenv("PYTHON", "missing")
    one, two = images
    assert one == two
    assert len(one) <= OPTIONS["integrated_rom_size"]
    assert b"LiteX" in one
    assert str(tmp_path).encode() not in one
    assert not [word for word in (b".c\0", b"site-packages", b"BIOS built on") if word in one]
