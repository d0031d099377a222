# SPDX-License-Identifier: BSD-2-Clause
"""The bitstreams that are here: found, verified, and built again to compare."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatten_drivers.bitstream import BITSTREAM, MANIFEST, REGISTER_MAP, Bitstream
from spatten_drivers.errors import BitstreamError

ENVIRONMENT = "SPATTEN_BITSTREAMS"
ROOT = Path(__file__).parents[2]
_LUTS = "TRELLIS_COMB"
#: A folder with one of these is a board's.
_MARKS = (MANIFEST, BITSTREAM, REGISTER_MAP)
#: The tools run as WebAssembly, whose runtime puts an empty folder of its own here.
HIDDEN = Path("/tmp")


def default_folder() -> Path:
    """``$SPATTEN_BITSTREAMS``, else that of the source tree, else ``bitstreams`` in the current folder."""
    if named := os.environ.get(ENVIRONMENT):
        return Path(named)
    tree = ROOT / "bitstreams"
    return tree if tree.is_dir() else Path("bitstreams")


@dataclass(frozen=True)
class Shelved:
    """A board's folder.

    Attributes
    ----------
    name : of the folder.
    bitstream : ``None`` if there is no manifest, or it cannot be read as one.
    problems : what does not match; none of a good one.
    """

    name: str
    bitstream: Bitstream | None
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: verdict, problems, and the whole manifest."""
        record = dict(self.bitstream.record) if self.bitstream else None
        verdict = "damaged" if self.problems else "good"
        return {"name": self.name, "verdict": verdict, "problems": list(self.problems), "manifest": record}

    @property
    def margin(self) -> float:
        """The least of all clocks: reached over asked, less 1."""
        assert self.bitstream is not None
        return min(float(clock["margin"]) for clock in self.bitstream.record["clocks"].values())

    @property
    def lut_share(self) -> float | None:
        """Share of the FPGA's LUTs, if the manifest counts them."""
        assert self.bitstream is not None
        used, there = self.bitstream.record["utilisation"].get(_LUTS, (0, 0))
        return used / there if there else None

    @property
    def size(self) -> int:
        """Bytes of the bitstream."""
        assert self.bitstream is not None
        return self.bitstream.files["spatten.bit"].bytes if "spatten.bit" in self.bitstream.files else 0


def shelf(folder: Path) -> list[Shelved]:
    """Every board's folder in ``folder``, verified, by name.

    Raises
    ------
    BitstreamError : it is no folder, or a board's own.
    """
    return [examined(folder / name) for name in _boards(folder)]


def examined(folder: Path) -> Shelved:
    """A board's folder, verified; it must have the board's name."""
    if not (folder / MANIFEST).exists():
        there = ", ".join(name for name in _MARKS if (folder / name).exists())
        lost = f"has {there}, but no {MANIFEST} to verify it by: its build has not ended, or that was lost"
        return Shelved(folder.name, None, (f"{lost}. Get the folder anew, or build it",))
    try:
        bitstream = Bitstream.load(folder)
    except BitstreamError as error:
        return Shelved(folder.name, None, (str(error),))
    return Shelved(folder.name, bitstream, (*_misplaced(bitstream), *bitstream.problems()))


def chosen(folder: Path, board: str) -> Bitstream:
    """The verified bitstream of a board; hyphens may stand for underscores.

    Raises
    ------
    BitstreamError : there is none of that name, it is another board's, or it is damaged.
    """
    name = board.replace("-", "_")
    if name not in (boards := _boards(folder)):
        raise BitstreamError(
            f"no bitstream of {board!r} in {folder}; there is {', '.join(boards) or 'none'}. Build it (make "
            f"bitstream BOARD={name}), or name another folder (--folder)"
        )
    bitstream = Bitstream.load(folder / name)
    bitstream.verify()
    if misplaced := _misplaced(bitstream):
        raise BitstreamError(f"{folder / name}: {misplaced[0]}")
    return bitstream


def _misplaced(bitstream: Bitstream) -> tuple[str, ...]:
    """Why the folder is not where its manifest belongs, if so: it would be loaded as another board's."""
    name = bitstream.folder.name
    if bitstream.board == name:
        return ()
    return (
        f"the folder is {name}, but the board of its manifest is {bitstream.board}. Call the folder "
        f"{bitstream.board}, or get that of {name}",
    )


def _boards(folder: Path) -> list[str]:
    """Names of the boards' folders in a folder."""
    expected = (
        "expected one with a folder a board, such as bitstreams of the source tree; name it with --folder or "
        f"${ENVIRONMENT}"
    )
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise BitstreamError(f"{folder} {what}; {expected}")
    if any((folder / name).exists() for name in _MARKS):
        raise BitstreamError(
            f"{folder} is the folder of one board; expected that around it: --folder "
            f"{folder.absolute().parent}"
        )
    return sorted({path.parent.name for name in _MARKS for path in folder.glob(f"*/{name}")})


# Building again -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rebuilt:
    """A bitstream built again.

    Attributes
    ----------
    folder : it was built in; gone if all is equal.
    differences : by file, in words; none if every file has the same bytes.
    """

    folder: Path
    differences: tuple[str, ...]


def other_tools(bitstream: Bitstream) -> list[str]:
    """Tools that are here in another version than the bitstream was built with, a line each.

    Raises
    ------
    BitstreamError : what builds bitstreams is not installed.
    """
    from .cli.console import version_of

    try:
        from spatten_fpga.targets.manifest import PACKAGES
    except ImportError as error:
        raise BitstreamError(
            f"no bitstream can be built here: {error}. make bitstream installs the tools into .venv"
        ) from error
    pairs = {
        name: (version, version_of(PACKAGES.get(name, name)))
        for name, version in bitstream.record["tools"].items()
    }
    return [
        f"{name} {built} built it, {ours} is here" for name, (built, ours) in pairs.items() if built != ours
    ]


def rebuild(bitstream: Bitstream, work: Path, this_tree: bool = False) -> Rebuilt:
    """Run the manifest's command in a fresh folder below ``work`` and compare every file, byte by byte.

    The sources are those of the manifest's commit, or with ``this_tree`` of the tree as it is.

    Raises
    ------
    BitstreamError : the tools would not see the folder, the commit cannot be had, or the command fails; its
        log is named, and kept.
    """
    if work.resolve().is_relative_to(HIDDEN.resolve()):
        raise BitstreamError(
            f"{work}: nothing can be built below {HIDDEN}: nextpnr and ecppack run as WebAssembly and have "
            f"an empty {HIDDEN} of their own. Give --work a folder elsewhere, such as build"
        )
    try:
        work.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"rebuild-{bitstream.board}-", dir=work)).absolute()
    except OSError as error:
        raise BitstreamError(f"{work}: no folder to build in: {error.strerror}. Give --work") from error
    output, log = folder / "output", folder / "build.log"
    tree = ROOT if this_tree else _sources(bitstream, folder / "source")
    command = [*_command(bitstream), "--output-dir", str(output)]
    with log.open("w") as lines:
        code = subprocess.run(
            command, stdout=lines, stderr=subprocess.STDOUT, check=False, env=_environment(tree)
        ).returncode
    if code:
        last = "; ".join(log.read_text("utf-8", "replace").splitlines()[-3:])
        raise BitstreamError(
            f"{shlex.join(command)} ended with {code}: {last or 'it said nothing'}. All it said is in {log}; "
            "the tools come with make bitstream"
        )
    found = tuple(
        words for name in bitstream.files if (words := _difference(bitstream.folder / name, output / name))
    )
    if not found:
        shutil.rmtree(folder)
    return Rebuilt(output, found)


def _sources(bitstream: Bitstream, folder: Path) -> Path:
    """A clone of this repository at the commit that the bitstream was built of."""
    commit = bitstream.record["source_commit"]
    clone = ["git", "clone", "--quiet", "--shared", "--no-checkout", str(ROOT), str(folder)]
    checkout = ["git", "-C", str(folder), "checkout", "--quiet", "--detach", commit]
    try:
        for call in (clone, checkout):
            subprocess.run(call, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()
        raise BitstreamError(
            f"the sources of {bitstream.board}'s bitstream are those of commit {commit[:12]}, which {ROOT} "
            f"does not have: {said}. Get all of its history (git fetch --unshallow), or build from the tree "
            "as it is (--this-tree)"
        ) from error
    return folder


def _environment(tree: Path) -> dict[str, str]:
    """This one, with the packages of a tree before those that are installed."""
    packages = [str(tree / name) for name in ("host", "drivers", "fpga")]
    usual = [path for path in [os.environ.get("PYTHONPATH")] if path]
    return os.environ | {"PYTHONPATH": os.pathsep.join([*packages, *usual])}


def _command(bitstream: Bitstream) -> list[str]:
    """With this interpreter for ``python3``."""
    return [sys.executable, *shlex.split(bitstream.record["rebuild"])[1:]]


def _difference(shipped: Path, built: Path) -> str:
    """Where two files differ; empty if they do not."""
    if not built.is_file():
        return f"{built.name} was not built"
    ours, its = shipped.read_bytes(), built.read_bytes()
    if ours == its:
        return ""
    at = next(
        (i for i, (a, b) in enumerate(zip(ours, its, strict=False)) if a != b), min(len(ours), len(its))
    )
    return f"{built.name} differs from byte {at:,} on ({len(ours):,} bytes shipped, {len(its):,} built)"
