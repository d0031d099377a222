# SPDX-License-Identifier: BSD-2-Clause
"""Simulators in the cache: found, refused, mended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spatten_drivers.devices import verilator
from spatten_drivers.errors import DeviceError
from spatten_fpga.sim.verilator import CHECKSUM, ToolError, cache_folder, is_whole, library
from spatten_fpga.soc import build as builder
from spatten_fpga.soc.build import build, is_complete

TOP = "tiny"
VERILOG = """
module tiny(input wire sys_clk, output reg [7:0] count);
always @(posedge sys_clk) count <= count + 1;
endmodule
"""
HARNESS = """
#include "Vtiny.h"
#include "verilated.h"
double sc_time_stamp() { return 0; }
"""

PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
HOLDER = """
import fcntl, sys
with open(sys.argv[1], "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def built() -> Path:
    """Folder of the small simulator."""
    return verilator.built_folder("small")


@pytest.fixture
def copied(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a copy of the small simulator in a cache of its own."""
    real = cache_folder()
    shutil.copytree(built, tmp_path / built.name)
    library_folder = (built / json.loads((built / "manifest.json").read_text())["library"]).resolve().parent
    shutil.copytree(library_folder, tmp_path / library_folder.name)
    for runtime in real.glob("runtime-*"):
        (tmp_path / runtime.name).symlink_to(runtime)
    monkeypatch.setenv("SPATTEN_SIM_CACHE", str(tmp_path))
    return tmp_path / built.name


def test_what_is_there_is_found(copied: Path) -> None:
    """Without a tool being called."""
    stages: list[str] = []
    assert build("small", None, stages.append) == copied
    assert stages == []


@pytest.mark.parametrize("name", ["manifest.json", "csr.json", "sim.so", CHECKSUM])
@pytest.mark.parametrize("harm", ["cut", "changed", "gone"])
def test_damage_is_seen(copied: Path, name: str, harm: str) -> None:
    assert is_complete(copied)
    manifest = json.loads((copied / "manifest.json").read_text())
    beside = (copied / manifest["library"]).resolve().parent
    path = (beside if name in ("sim.so", CHECKSUM) else copied) / name
    data = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if harm == "cut" else b"{" + data[1:-9] + bytes(9))
    assert not is_complete(copied)


@pytest.mark.deep
def test_damage_is_mended(copied: Path) -> None:
    """What is whole of it is kept: the library is not compiled again for a damaged manifest."""
    (copied / "manifest.json").write_text("{}")
    stages: list[str] = []
    assert build("small", None, stages.append) == copied
    assert is_complete(copied)
    assert stages == ["elaborating the system (LiteX, LiteDRAM, core)"]


@pytest.mark.deep
def test_a_damaged_library_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for runtime in cache_folder().glob("runtime-*"):
        (tmp_path / runtime.name).symlink_to(runtime)
    monkeypatch.setenv("SPATTEN_SIM_CACHE", str(tmp_path))
    place = library(VERILOG, HARNESS, TOP)
    assert is_whole(place)
    place.write_bytes(place.read_bytes()[:1000])
    assert not is_whole(place)
    stages: list[str] = []
    assert library(VERILOG, HARNESS, TOP, progress=stages.append) == place
    assert is_whole(place)
    assert stages[0] == "Verilator makes C++ of the Verilog"
    assert [path for path in tmp_path.iterdir() if path.is_dir() and not path.is_symlink()] == [place.parent]


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says where, why, and what to do."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPATTEN_SIM_CACHE", str(tmp_path / "file" / "cache"))
    expected = (
        f"simulators are kept in {tmp_path}/file/cache, which cannot be used: Not a directory. "
        "Set SPATTEN_SIM_CACHE to a folder that you can write, with 100 MB free"
    )
    for call in (lambda: build("small"), lambda: library(VERILOG, HARNESS, TOP)):
        with pytest.raises(ToolError) as error:
            call()
        assert str(error.value) == expected
    with pytest.raises(DeviceError) as told:
        verilator.built_folder("small")
    assert str(told.value) == f"verilator: the simulator cannot be built: {expected}"


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel tells it; nothing half made stays behind."""
    monkeypatch.setenv("SPATTEN_SIM_CACHE", str(tmp_path))

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("spatten_fpga.sim.verilator._compile", full)
    with pytest.raises(ToolError, match=r"cannot be used: No space left on device\. Set SPATTEN_SIM_CACHE"):
        library(VERILOG, HARNESS, TOP)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.deep
def test_a_full_disk_behind_the_compiler(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is there; its map and manifest find no room. The next build, with room, is whole."""
    (copied / "manifest.json").write_text("{}")
    before = sorted(copied.parent.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(
            ToolError, match=r"cannot be used: No space left on device\. Set SPATTEN_SIM_CACHE"
        ):
            build("small")
    lock = copied.with_suffix(".lock")
    assert sorted(copied.parent.iterdir()) == sorted({*before, lock})
    assert is_complete(build("small"))


def test_two_processes_build_the_same(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second says that it waits, and takes what the first has built."""
    manifest = copied / "manifest.json"
    whole = manifest.read_text("utf-8")
    manifest.write_text("{}")
    monkeypatch.setattr(builder, "_make", None)  # to call it is an error
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(copied.with_suffix(".lock"))], **PIPES)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    stages: list[str] = []

    def first_is_done(stage: str) -> None:
        stages.append(stage)
        manifest.write_text(whole, "utf-8")
        holder.kill()  # a lock ends with its process, however that dies
        holder.communicate()

    assert build("small", None, first_is_done) == copied
    assert stages == ["another process builds it; waiting for that one"]


def test_a_refused_verilog_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPATTEN_SIM_CACHE", str(tmp_path))
    with pytest.raises(ToolError, match=r"verilator failed \(1\):\n%Error: .*syntax error"):
        library("module tiny(", HARNESS, TOP)
    assert list(tmp_path.iterdir()) == []


def test_other_sources_are_another_simulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = {builder.recipe("small", None), builder.recipe("small", 4096), builder.recipe("ecp5-85f", None)}
    known.add(builder.recipe("small", None, link=True))
    assert len(known) == 4
    changed = tmp_path / "core.py"
    changed.write_text("# another core\n")
    sources = builder._sources()
    monkeypatch.setattr(builder, "_sources", lambda: [*sources, changed])
    assert builder.recipe("small", None) not in known
    names = {path.name for path in sources}
    assert {"format.py", "attach.py"} & names == set()  # of the link, which this system does not have
    assert {"format.py", "attach.py"} <= {path.name for path in builder._link_sources()}
    assert {"core.py", "soc.py", "harness.cpp", "registers.py", "litedram.py", "dram.py"} <= names


def test_the_command_line(built: Path) -> None:
    """The folder, plain or as JSON; nothing is said of what was there."""
    command = [sys.executable, "-m", "spatten_fpga.soc.build", "--preset", "small"]
    plain = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (plain.stdout, plain.stderr) == (f"{built}\n", "")
    told = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == {"folder": str(built)}
