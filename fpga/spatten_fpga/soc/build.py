# SPDX-License-Identifier: BSD-2-Clause
"""``python3 -m spatten_fpga.soc.build``: the simulated system as a library, with its map and manifest.

It is kept in the cache folder of :mod:`spatten_fpga.sim.verilator`. Its key is of all that goes into it,
source by source, so that finding it again takes no elaboration.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import spatten_drivers
from spatten_drivers.errors import SpattenError
from spatten_fpga.sim.verilator import (
    CXX_FLAGS,
    FLAGS,
    Progress,
    cache_error,
    cache_folder,
    checksum,
    is_whole,
    library,
    version,
)

from . import riscv

#: Of simulation.BOARDS, which take a second to import.
NAMES = ("ecp5-85f", "ecp5-85f-slim", "ecp5-25f", "ecp5-25f-slim", "small")
TOOLS = ("migen", "litex", "litedram")
PARTS = ("core", "backend", "soc", "sim")  # of the gateware's package, that may go into a system
LINK = "link"  # of both packages, that goes into a system with a link
#: What a system may have besides, as options of SpattenSoc. Targets whose memory is levelled have a
#: processor; here it must be asked for: its BIOS boots in 94 million cycles, a quarter of an hour of a CPU.
EXTRAS: dict[str, dict[str, Any]] = {"analyzer": {"with_analyzer": True}, "cpu": {"cpu_type": "serv"}}
MANIFEST, MAP, DRAM = "manifest.json", "csr.json", "dram.json"


def build(
    preset: str,
    memory_bytes: int | None = None,
    progress: Progress = lambda stage: None,
    link: bool = False,
    extras: Sequence[str] = (),
) -> Path:
    """The folder of a simulator, built if it is not there, of other sources, or damaged.

    Parameters
    ----------
    preset : one of those in ``simulation.BOARDS``.
    memory_bytes : that jobs may reach; that of the board's chips unless given.
    progress : told of every stage.
    link : whether the system has the link SpL, its packets on pins.
    extras : of ``EXTRAS``.

    Raises
    ------
    SpattenError : a tool is missing or refused, or the cache folder cannot be used.
    """
    folder = cache_folder() / f"soc-{preset}-{recipe(preset, memory_bytes, link, extras)}"
    if is_complete(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.with_suffix(".lock"), progress):
            if not is_complete(folder):  # by now
                _make(folder, preset, memory_bytes, progress, link, extras)
    except OSError as error:
        raise cache_error(error) from error
    return folder


def recipe(preset: str, memory_bytes: int | None, link: bool = False, extras: Sequence[str] = ()) -> str:
    """A hash of all that goes into a simulator."""
    text = [preset, str(memory_bytes), sys.version, version(), *FLAGS, *CXX_FLAGS]
    text += [*[LINK] * link, *sorted(extras)]
    text += [f"{name} {metadata.version(name)}" for name in TOOLS]
    if "cpu" in extras:
        text += [f"{name} {found}" for name, found in riscv.versions().items()]
    text += [f"{path.name} {checksum(path)}" for path in [*_sources(), *(_link_sources() if link else ())]]
    return hashlib.sha256("\0".join(text).encode()).hexdigest()[:24]


def is_complete(folder: Path) -> bool:
    """Whether everything is there, and as it was built."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        built = folder / manifest["library"]
        return is_whole(built) and all(checksum(folder / n) == s for n, s in manifest["sha256"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _sources() -> list[Path]:
    gateware, driver = Path(__file__).parents[1], Path(spatten_drivers.__file__).parent
    parts = [
        path for part in PARTS for path in (gateware / part).rglob("*") if path.suffix in (".py", ".cpp")
    ]
    return sorted([*parts, *driver.glob("*.py")])


def _link_sources() -> list[Path]:
    gateware, driver = Path(__file__).parents[1], Path(spatten_drivers.__file__).parent
    return sorted([*(gateware / LINK).glob("*.py"), *(driver / LINK).glob("*.py")])


@contextmanager
def _alone(lock: Path, progress: Progress) -> Iterator[None]:
    """One process at a time; the others wait and find it built."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process builds it; waiting for that one")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(
    folder: Path,
    preset: str,
    memory_bytes: int | None,
    progress: Progress,
    link: bool,
    extras: Sequence[str],
) -> None:
    progress("elaborating the system (LiteX, LiteDRAM, core)")
    logging.disable(logging.INFO)
    from .simulation import BOARDS, TOP, SimulatedSoc, harness, system_verilog  # takes a second

    board = BOARDS[preset]
    options = {name: value for extra in extras for name, value in EXTRAS[extra].items()}
    soc = SimulatedSoc(board, memory_bytes, link, **options)
    work = folder.with_name(f"{folder.name}.{os.getpid()}")
    try:
        work.mkdir(exist_ok=True)
        if soc.cpu_type is not None:
            _add_bios(soc, work / "bios", progress)
        soc.finalize()
        verilog = system_verilog(soc)
        built = library(verilog, harness(board, link), TOP, progress=progress)
        files = _files(soc)
        for name, text in files.items():
            (work / name).write_text(text, "utf-8")
        manifest = {
            "preset": preset,
            "board": board.target,
            "config": board.config.to_dict(),
            "config_digest": f"{board.config.digest:016x}",
            "abi": board.config.abi,
            "clock_hz": int(board.clock),
            "memory": board.chips.__name__,
            "memory_bytes": soc.memory_bytes,
            "chip_bytes": soc.chip_bytes,
            "word_bytes": board.word_bytes,
            "link": link,
            "extras": sorted(extras),
            "library": os.path.relpath(built, folder),
            "sha256": {name: checksum(work / name) for name in files},
            "tools": {name: metadata.version(name) for name in TOOLS},
        }
        (work / MANIFEST).write_text(json.dumps(manifest, indent=4) + "\n", "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        work.replace(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _add_bios(soc: Any, folder: Path, progress: Progress) -> None:
    from .bios import compile_bios

    progress("compiling the BIOS")
    compile_bios(soc, folder)
    shutil.rmtree(folder)  # 20 MB, and it is in the ROM


def _files(soc: Any) -> dict[str, str]:
    """What lies beside the library, by name; all that a host needs of the system."""
    from litex.soc.integration.export import get_csr_json

    from .analyzer import CSV, analyzer_csv
    from .dram_json import dram_record

    files = {MAP: get_csr_json(soc.csr_regions, soc.constants, soc.mem_regions)}
    if soc.cpu_type is not None:
        settings = soc.sdram.controller.settings
        files[DRAM] = json.dumps(dram_record(settings.phy, settings.timing, soc.sys_clk_freq)) + "\n"
    if hasattr(soc, "analyzer"):
        files[CSV] = analyzer_csv(soc)
    return files


# Command line -------------------------------------------------------------------------------------


class Display:
    """Stages on stderr with the seconds so far: one line that changes on a terminal, else a line a stage."""

    def __init__(self, preset: str) -> None:
        self.preset, self.start, self.shown = preset, time.monotonic(), False

    def __call__(self, stage: str) -> None:
        live = sys.stderr.isatty()
        text = f"simulator {self.preset}: {time.monotonic() - self.start:4.0f} s  {stage}"
        sys.stderr.write(f"\r\033[K{text}" if live else f"{text}\n")
        sys.stderr.flush()
        self.shown = True

    def close(self) -> None:
        """The last line."""
        if self.shown:
            self("built")
            sys.stderr.write("\n" if sys.stderr.isatty() else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what the command line asks for; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python3 -m spatten_fpga.soc.build",
        description="Build the simulated system on chip, or find it in the cache; prints its folder.",
        epilog="exit codes: 0 done, 2 it cannot be built",
    )
    parser.add_argument("--preset", default="ecp5-85f", choices=NAMES, help="what to simulate (%(default)s)")
    parser.add_argument("--memory-bytes", type=int, metavar="N", help="that jobs may reach (the chips')")
    parser.add_argument("--link", action="store_true", help="with the link SpL, its packets on pins")
    parser.add_argument(
        "--with", dest="extras", action="append", default=[], choices=[*EXTRAS], help="what else it has"
    )
    parser.add_argument("--json", action="store_true", help="print folder or error as JSON")
    given = parser.parse_args(arguments)
    display = Display(given.preset)
    try:
        folder = build(given.preset, given.memory_bytes, display, given.link, given.extras)
        answer: dict[str, Any] = {"folder": str(folder)}
        display.close()
    except SpattenError as error:
        answer = {"error": str(error)}
    if given.json:
        sys.stdout.write(json.dumps(answer) + "\n")
    elif "error" in answer:
        sys.stderr.write(f"error: {answer['error']}\n")
    else:
        sys.stdout.write(f"{answer['folder']}\n")
    return 2 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
