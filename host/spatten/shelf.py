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

from spatten_drivers.bitstream import MANIFEST, Bitstream
from spatten_drivers.errors import BitstreamError

ENVIRONMENT = "SPATTEN_BITSTREAMS"
ROOT = Path(__file__).parents[2]
_LUTS = "TRELLIS_COMB"


def default_folder() -> Path:
    """``$SPATTEN_BITSTREAMS``, else that of the source tree, else ``bitstreams`` in the current folder."""
    if named := os.environ.get(ENVIRONMENT):
        return Path(named)
    tree = ROOT / "bitstreams"
    return tree if tree.is_dir() else Path("bitstreams")


@dataclass(frozen=True)
class Shelved:
    """A folder with a manifest.

    Attributes
    ----------
    name : of the folder.
    bitstream : ``None`` if the manifest cannot be read as one.
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
    """Every folder in ``folder`` that has a manifest, verified, by name."""
    return [examined(path.parent) for path in sorted(folder.glob(f"*/{MANIFEST}"))]


def examined(folder: Path) -> Shelved:
    """A folder, verified."""
    try:
        bitstream = Bitstream.load(folder)
    except BitstreamError as error:
        return Shelved(folder.name, None, (str(error),))
    return Shelved(folder.name, bitstream, tuple(bitstream.problems()))


def chosen(folder: Path, board: str) -> Bitstream:
    """The verified bitstream of a board; hyphens may stand for underscores.

    Raises
    ------
    BitstreamError : there is none of that name, or it is damaged.
    """
    name = board.replace("-", "_")
    if not (folder / name / MANIFEST).is_file():
        there = ", ".join(path.parent.name for path in sorted(folder.glob(f"*/{MANIFEST}"))) or "none"
        raise BitstreamError(
            f"no bitstream of {board!r} in {folder}; there is {there}. Build it (make bitstream "
            f"BOARD={name}), or name another folder (--folder)"
        )
    bitstream = Bitstream.load(folder / name)
    bitstream.verify()
    return bitstream


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


def rebuild(bitstream: Bitstream, work: Path, this_tree: bool = False) -> Rebuilt:
    """Run the manifest's command in a fresh folder below ``work`` and compare every file, byte by byte.

    The sources are those of the manifest's commit, or with ``this_tree`` of the tree as it is.

    Raises
    ------
    BitstreamError : the commit cannot be had, or the command fails; its log is named, and kept.
    """
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
