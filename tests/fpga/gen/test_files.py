# SPDX-License-Identifier: BSD-2-Clause
"""What the generator writes, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from spatten_drivers import PRESETS, AcceleratorConfig
from spatten_drivers.errors import ConfigError
from spatten_drivers.registers import REGISTERS
from spatten_fpga.gen import Options, generate, load_options, load_preset, preset_path
from spatten_fpga.gen.__main__ import main
from spatten_fpga.sim.verilator import verilator, verilator_root

SMALL = AcceleratorConfig(
    lanes=8, head_dims=(32,), max_sequence=64, kv_buffer_rows=16, topk_parallelism=2, beat_bytes=8
)
#: What Verilator says of all that Migen writes: it counts on Verilog's own widths and initial values.
MIGENS_STYLE = ("CASEINCOMPLETE", "COMBDLY", "PROCASSINIT", "UNUSEDSIGNAL", "WIDTHEXPAND", "WIDTHTRUNC")


@cache
def files(bus: str) -> dict[str, str]:
    return generate(Options(SMALL, memory="3MiB", name="attention", bus=bus), "the command")


def manifest(bus: str = "wishbone") -> dict[str, Any]:
    return json.loads(files(bus)["manifest.json"])


@pytest.mark.parametrize("bus", ["wishbone", "axi-lite"])
def test_verilator_finds_nothing_wrong(bus: str, tmp_path: Path) -> None:
    (tmp_path / "attention.v").write_text(files(bus)["attention.v"])
    quiet = [f"-Wno-{name}" for name in MIGENS_STYLE]
    command = [str(verilator()), "--lint-only", "-Wall", *quiet, "--top-module", "attention", "attention.v"]
    environment = {**os.environ, "VERILATOR_ROOT": str(verilator_root())}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("bus", ["wishbone", "axi-lite"])
def test_ports_of_the_manifest_are_those_of_the_verilog(bus: str) -> None:
    head = re.search(r"module attention \((.*?)\);", files(bus)["attention.v"], re.DOTALL)
    assert head
    found = re.findall(r"(input|output) +(?:wire|reg) +(?:\[(\d+):0\])? *(\w+)", head[1])
    ports = {(name, direction, int(top or 0) + 1) for direction, top, name in found}
    assert len(found) == head[1].count("put ")
    assert ports == {(p["name"], p["direction"], p["width"]) for p in manifest(bus)["ports"]}
    assert all(port["description"].endswith(".") for port in manifest(bus)["ports"])


def test_the_manifest() -> None:
    found = manifest()
    assert AcceleratorConfig.from_dict(found["config"]) == SMALL
    assert found["config_digest"] == f"{SMALL.digest:016x}"
    assert (found["name"], found["abi"], found["memory_bytes"]) == ("attention", "1.1", 3 << 20)
    assert found["register_bus"] == {"kind": "wishbone", "data_bits": 32, "address_bits": 12}
    assert found["memory_port"] == {"data_bits": 64, "address_bits": 29, "address_unit_bytes": 8}
    assert found["registers"] == {word.name: 4 * word.index for word in REGISTERS}
    assert found["command"] == "the command"
    assert set(found["tools"]) == {"spatten", "migen", "litex"}


def test_checksums_are_of_the_files() -> None:
    found = manifest()["sha256"]
    assert found == {
        name: hashlib.sha256(files("wishbone")[name].encode()).hexdigest()
        for name in ("attention.v", "csr.json")
    }


def test_the_register_map_is_the_table_of_the_contract() -> None:
    found = json.loads(files("wishbone")["csr.json"])
    kinds = {"ro": "ro", "rw": "rw", "wo": "rw"}  # LiteX knows no register that is only written
    assert found["csr_registers"] == {
        f"spatten_{word.name.lower()}": {"addr": 4 * word.index, "size": 1, "type": kinds[word.access]}
        for word in REGISTERS
    }
    assert found["csr_bases"] == {"spatten": 0}
    assert found["constants"]["config_csr_data_width"] == 32


def test_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "small.yml").write_text(yaml.safe_dump({"name": "attention", "config": SMALL.to_dict()}))
    for folder in ("one", "other"):
        call = [sys.executable, "-m", "spatten_fpga.gen", "small.yml", "-o", folder]
        done = subprocess.run(
            call, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300, env={**os.environ}
        )
        assert (done.returncode, done.stderr) == (0, "")
    for name in ("attention.v", "csr.json", "manifest.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    assert len(list((tmp_path / "one").iterdir())) == 3


# -- presets and YAML ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_the_yaml_of_a_preset_is_the_preset(name: str) -> None:
    assert load_preset(name).config == PRESETS[name]
    text = preset_path(name).read_text("utf-8")
    assert f"--preset {name}" in text
    assert set(yaml.safe_load(text)["config"]) == set(PRESETS[name].to_dict())


def test_what_is_left_out_keeps_its_default(tmp_path: Path) -> None:
    (tmp_path / "some.yml").write_text("config: {lanes: 32}")
    assert load_options(tmp_path / "some.yml") == Options(replace(AcceleratorConfig(), lanes=32))


FIELDS = ", ".join(SMALL.to_dict())
WRONG = {
    "lane: 3": "the file has a field 'lane'; expected config, memory, name, bus",
    "config: {lane: 3}": f"config has a field 'lane'; expected {FIELDS}",
    "config: {3: 3}": f"config has a field 3; expected {FIELDS}",
    "config: 3": f"config is 3; expected fields with values: {FIELDS}",
    "config:": f"config is None; expected fields with values: {FIELDS}",
    "": "the file is None; expected fields with values: config, memory, name, bus",
    "- config": "the file is ['config']; expected fields with values: config, memory, name, bus",
    "config: {lanes: 48}": "AcceleratorConfig.lanes is 48; expected a power of two from 8 to 1024",
    "config: {lanes: '64'}": "AcceleratorConfig.lanes is '64'; expected a power of two from 8 to 1024",
    "config: {head_dims: 64}": (
        "AcceleratorConfig.head_dims is 64; expected a non-empty subset of (32, 64, 96, 128)"
    ),
    "config: {max_sequence: 512}": (
        "AcceleratorConfig.kv_buffer_rows is 1024; expected 0 to max_sequence (512)"
    ),
    "name: 2fast": "name is '2fast'; expected a Verilog name: letters, digits and _, no digit first",
    "name: [a]": "name is ['a']; expected a Verilog name: letters, digits and _, no digit first",
    "bus: axi": "bus is 'axi'; expected one of wishbone, axi-lite",
    "memory: 1000": "memory is 1000; expected a size below 4GiB such as 64MiB or 1GiB",
    "memory: 4GiB": "memory is '4GiB'; expected a size below 4GiB such as 64MiB or 1GiB",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items())
def test_wrong_yaml_is_told_and_nothing_is_written(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong.yml").write_text(text)
    assert main([str(tmp_path / "wrong.yml"), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr() == ("", f"error: {tmp_path / 'wrong.yml'}: {message}\n")
    assert not (tmp_path / "out").exists()


def test_text_that_is_not_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wrong.yml").write_text("config: {lanes: 64\nbus: [")
    assert main([str(tmp_path / "wrong.yml")]) == 2
    assert re.search(r"wrong\.yml: not YAML: .* line 2, column 4", capsys.readouterr().err)


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.yml")]) == 2
    assert (
        capsys.readouterr().err
        == f"error: {tmp_path / 'none.yml'}: cannot be read: No such file or directory\n"
    )


def test_bytes_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "image.yml").write_bytes(b"\xff\xfe\x00")
    assert main([str(tmp_path / "image.yml")]) == 2
    assert (
        capsys.readouterr().err == f"error: {tmp_path / 'image.yml'}: cannot be read: not a text in UTF-8\n"
    )


def test_an_unknown_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--preset", "big"]) == 2
    assert capsys.readouterr().err == f"error: preset is 'big'; expected one of {', '.join(PRESETS)}\n"


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "small.yml").write_text(yaml.safe_dump({"config": SMALL.to_dict()}))
    (tmp_path / "out").write_text("a file")
    assert main([str(tmp_path / "small.yml"), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'out'}: cannot be written: File exists\n"
    assert (tmp_path / "out").read_text() == "a file"


def test_a_place_that_is_taken_leaves_no_half(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last file cannot be put in its place: the ones before it must not be new either."""
    (tmp_path / "small.yml").write_text(yaml.safe_dump({"config": SMALL.to_dict()}))
    out = tmp_path / "out"
    (out / "manifest.json").mkdir(parents=True)
    (out / "csr.json").write_text("old")
    assert main([str(tmp_path / "small.yml"), "-o", str(out)]) == 2
    assert sorted(path.name for path in out.iterdir()) == ["csr.json", "manifest.json"]
    assert (out / "csr.json").read_text() == "old"
    assert capsys.readouterr().err == f"error: {out / 'manifest.json'}: cannot be written: Is a directory\n"


@pytest.mark.parametrize("arguments", [[], ["a.yml", "--preset", "paper"], ["--nonsense"]])
def test_a_wrong_call(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: python3 -m spatten_fpga.gen" in capsys.readouterr().err


def test_lists_and_places(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-presets"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(PRESETS)
    assert main(["--where", "paper"]) == 0
    assert Path(capsys.readouterr().out.strip()) == preset_path("paper")


def test_the_examples_of_the_help_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for name in re.findall(r"--(?:preset|where) ([a-z0-9-]+)", text):
        assert name in PRESETS
    assert set(re.findall(r"(?<![\w-])--[a-z-]+", text)) <= {
        "--help",
        "--preset",
        "--list-presets",
        "--where",
        "--output-dir",
    }


def test_a_refused_name_says_so() -> None:
    with pytest.raises(ConfigError, match=r"^name is 'a b'; expected a Verilog name"):
        Options(SMALL, name="a b")
