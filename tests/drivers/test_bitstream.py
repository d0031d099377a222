# SPDX-License-Identifier: BSD-2-Clause
"""Folders of bitstreams: what is read, what is refused with which words, and the published schema."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from spatten_drivers import PRESETS, Emulator, Overlay
from spatten_drivers.bitstream import FIELDS, LINKS, Bitstream, bitstream_beside
from spatten_drivers.config import config_from_digest
from spatten_drivers.devices.litex import LitexDevice
from spatten_drivers.errors import BitstreamError, DeviceMismatchError

from .bitstream_folder import change, record, write_folder
from .devices.soc_bus import EmulatedSoc

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "bitstreams" / "manifest.schema.json").read_text("utf-8"))
CONFIG = PRESETS["ecp5-25f"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "colorlight_i5")


def test_a_whole_folder(folder: Path) -> None:
    found = Bitstream.load(folder)
    found.verify()
    assert found.problems() == []
    assert (found.board, found.digest, found.config) == ("colorlight_i5", CONFIG.digest, CONFIG)
    assert found.files["config.yml"].bytes == len(b"memory: 8MiB\n")


def refused(folder: Path) -> str:
    with pytest.raises(BitstreamError) as caught:
        Bitstream.load(folder).verify()
    return str(caught.value)


def test_a_changed_byte_names_both_hashes(folder: Path) -> None:
    wanted = Bitstream.load(folder).files["spatten.bit"].sha256
    data = bytearray((folder / "spatten.bit").read_bytes())
    data[100] ^= 1
    (folder / "spatten.bit").write_bytes(data)
    said = refused(folder)
    found = hashlib.sha256(data).hexdigest()
    assert f"spatten.bit has SHA-256 {found}, the manifest says {wanted}" in said
    assert "python3 -m spatten_fpga.targets.colorlight_i5 --build --seed 1" in said


def test_a_cut_file_names_both_sizes(folder: Path) -> None:
    (folder / "spatten.svf.gz").write_bytes(b"{")
    assert "spatten.svf.gz has 1 bytes, the manifest says 13" in refused(folder)


def test_missing_and_unnamed_files(folder: Path) -> None:
    (folder / "config.yml").unlink()
    (folder / "dram.json").write_bytes(b"")
    said = refused(folder)
    assert "config.yml cannot be read: No such file or directory" in said
    assert "files does not name dram.json, which is there" in said


def test_what_a_build_leaves_beside_does_not_matter(folder: Path) -> None:
    """A board is loaded and opened from the folder in which its bitstream was built."""
    (folder / "gateware").mkdir()
    (folder / "csr.csv").write_bytes(b"")
    assert Bitstream.load(folder).problems() == []


def test_a_digest_that_is_not_of_the_configuration(folder: Path) -> None:
    change(folder, config_digest="00" * 8)
    assert f"config_digest is {'00' * 8}, but that of config with abi 1.1 is {CONFIG.digest:016x}" in refused(
        folder
    )


def test_another_abi(folder: Path) -> None:
    assert "abi is '2.0'; this release speaks 1.0 and 1.1" in refused(change(folder, abi="2.0"))
    said = refused(change(folder, abi="1.0"))
    assert "but that of config with abi 1.0 is" in said
    assert "abi is 1.0, but that of csr.json is 1.1" in said


def test_a_bitstream_of_an_older_contract(tmp_path: Path) -> None:
    """It stays good, its device is found to run it, and one of the same fields that is newer is not."""
    older = replace(CONFIG, abi_minor=0)
    found = Bitstream.load(write_folder(tmp_path, abi="1.0", config_digest=f"{older.digest:016x}"))
    assert (found.problems(), found.config) == ([], older)
    found.require_device(Emulator(older, memory_bytes=8 << 20))
    with pytest.raises(DeviceMismatchError, match=r"; abi 1\.0 in the manifest, 1\.1 on the device\. Load"):
        found.require_device(Emulator(CONFIG, memory_bytes=8 << 20))


@pytest.mark.parametrize("board", ["colorlight_i9", "ecpix5", "ulx3s"])
def test_what_ships_is_whole(board: str) -> None:
    """Whatever version of the contract it was built for."""
    shipped = Bitstream.load(ROOT / "bitstreams" / board)
    assert shipped.problems() == []
    assert config_from_digest(shipped.digest) == shipped.config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"board": "ecpix5"}, "board is ecpix5, but that of rebuild is colorlight_i5"),
        ({"device": "LFE5U-45F-6BG381C"}, "but the part of spatten.bit is LFE5U-25F-6CABGA381"),
        ({"device": "LFE5U-25F-6BG256C"}, "but the part of spatten.bit is LFE5U-25F-6CABGA381"),
        ({"idcode": "0x41112043"}, "idcode is 0x41112043, but that of spatten.bit is 0x41111043"),
        ({"clock_hz": 75_000_000}, "but config_clock_frequency of csr.json is 60000000"),
        ({"memory_bytes": 16 << 20}, "memory_bytes is 16777216, but memory of config.yml is 8388608"),
        ({"seed": 7}, "seed is 7, but what seeds has is 1, 2"),
        ({"seed": 2}, "seeds.2 is 68.0, but clocks.sys.reached_mhz is 71.3"),
        ({"clocks": {"sys": {"asked_mhz": 60.0, "reached_mhz": 71.3, "margin": 0.19}}}, "- 1 is 0.188"),
    ],
    ids=["board", "size", "package", "idcode", "clock", "memory", "no such seed", "other seed", "margin"],
)
def test_what_stands_twice_must_be_the_same(folder: Path, changes: dict[str, Any], said: str) -> None:
    (problem,) = Bitstream.load(change(folder, **changes)).problems()
    assert problem.startswith(f"{next(iter(changes))}")
    assert said in problem


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"clocks": {"sys": {"asked_mhz": 60.0, "reached_mhz": 71.3, "margin": float("nan")}}},
            'clocks is {"sys": {"asked_mhz": 60.0, "reached_mhz": 71.3, "margin": NaN}}; expected asked_mhz',
        ),
        ({"seeds": {"1": 71.3, "2": float("inf")}}, 'seeds is {"2": Infinity}; expected MHz'),
        ({"date": "2026-99-99T01:12:09Z"}, 'date is "2026-99-99T01:12:09Z"; expected date and time'),
    ],
    ids=["margin", "seed", "date"],
)
def test_what_is_no_number_and_no_date(folder: Path, changes: dict[str, Any], said: str) -> None:
    """JSON has no NaN, but Python reads it; the entry that is odd is named, not the whole table."""
    assert said in refused(change(folder, **changes))


def test_a_map_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"csr.json": b"{}"})
    (problem,) = Bitstream.load(folder).problems()
    assert "csr.json: no register map of LiteX" in problem


def test_registers_checked_of_another_map(folder: Path) -> None:
    change(folder, registers_checked={"count": 3, "csr_sha256": "a" * 64})
    assert f"registers_checked.csr_sha256 is {'a' * 64}" in refused(folder)


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_needed_and_of_its_kind(folder: Path, name: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    for broken in ({k: v for k, v in manifest.items() if k != name}, manifest | {name: [[]]}):
        (folder / "manifest.json").write_text(json.dumps(broken), "utf-8")
        with pytest.raises(BitstreamError, match=rf"(has no field {name}|{name} is \[\[\]\]); expected"):
            Bitstream.load(folder)


@pytest.mark.parametrize(
    ("text", "said"), [("", "no JSON"), ("[]", "holds list"), ("{}", "has no field schema")]
)
def test_what_is_no_manifest(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "manifest.json").write_text(text, "utf-8")
    with pytest.raises(BitstreamError, match=said):
        Bitstream.load(tmp_path)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BitstreamError, match="cannot be read: No such file"):
        Bitstream.load(tmp_path / "nowhere")


# Devices ------------------------------------------------------------------------------------------


def test_overlay_takes_the_bitstream_that_the_device_runs(folder: Path) -> None:
    device = Emulator(CONFIG, memory_bytes=8 << 20)
    assert Overlay(folder / "spatten.bit", device=device).is_loaded()


def test_overlay_refuses_another_device_and_names_the_fields(folder: Path) -> None:
    device = Emulator(memory_bytes=1 << 20)
    with pytest.raises(DeviceMismatchError) as caught:
        Overlay(folder / "spatten.bit", device=device)
    said = str(caught.value)
    digests = f"config_digest {CONFIG.digest:016x} in the manifest, {device.config.digest:016x} on the device"
    assert digests in said
    assert "memory_bytes 8388608 in the manifest, 1048576 on the device" in said
    assert "config.lanes 8 in the manifest, 64 on the device" in said


def test_overlay_refuses_a_damaged_folder_and_a_foreign_file(folder: Path) -> None:
    device = Emulator(CONFIG, memory_bytes=8 << 20)
    with pytest.raises(BitstreamError, match=r"does not name it; it names spatten.bit"):
        Overlay(folder / "manifest.json", device=device)
    (folder / "csr.json").write_bytes(b"[]\n")
    with pytest.raises(BitstreamError, match=r"csr.json has SHA-256"):
        Overlay(folder / "spatten.bit", device=device)


@pytest.mark.parametrize("key", ["library", "ports"])
def test_a_manifest_of_another_kind_is_none(tmp_path: Path, key: str) -> None:
    """Beside a simulator or a bare core; and a build that has not ended has none yet."""
    (tmp_path / "manifest.json").write_text(json.dumps({"preset": "small", key: ""}), "utf-8")
    assert bitstream_beside(tmp_path / "csr.json") is None
    assert bitstream_beside(tmp_path / "nowhere" / "csr.json") is None


def test_a_damaged_manifest_does_not_pass_for_another_kind(folder: Path) -> None:
    """One changed letter, and one that is no manifest at all: neither opens unchecked."""
    path = folder / "manifest.json"
    path.write_text(path.read_text("utf-8").replace('"schema"', '"schemb"'), "utf-8")
    device = Emulator(CONFIG, memory_bytes=8 << 20)
    with pytest.raises(BitstreamError, match=r"has no field schema; expected 1\. Get the folder anew"):
        Overlay(folder / "spatten.bit", device=device)
    path.unlink()
    path.mkdir()
    with pytest.raises(BitstreamError, match=r"manifest\.json: cannot be read: Is a directory"):
        bitstream_beside(folder / "csr.json")


def test_a_board_must_run_the_bitstream_of_its_folder(folder: Path) -> None:
    bitstream = Bitstream.load(folder)
    other = EmulatedSoc(Emulator(memory_bytes=8 << 20))
    with pytest.raises(DeviceMismatchError, match=r"config_digest .* in the manifest, .* on the device"):
        LitexDevice(other, other.csr_map, name="board", bitstream=bitstream)
    bus = EmulatedSoc(Emulator(CONFIG, memory_bytes=8 << 20))
    with LitexDevice(bus, bus.csr_map, name="board", bitstream=bitstream) as device:
        assert device.config == CONFIG


# Schema -------------------------------------------------------------------------------------------


def faults(value: Any, schema: dict[str, Any]) -> list[str]:
    """What of a value breaks a schema; the part of JSON Schema 2020-12 that ours uses, and no more."""
    known = {
        "$schema", "$id", "title", "description", "type", "const", "enum", "pattern", "minimum", "minLength",
        "items", "minItems", "maxItems", "properties", "required", "additionalProperties", "propertyNames",
        "minProperties", "anyOf", "exclusiveMinimum", "format",
    }  # fmt: skip
    assert set(schema) <= known
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
    kinds["null"] = type(None)
    if "type" in schema and (not isinstance(value, kinds[schema["type"]]) or isinstance(value, bool)):
        return [f"{value!r} is no {schema['type']}"]
    if "anyOf" in schema and all(faults(value, one) for one in schema["anyOf"]):
        return [f"{value!r} fits nothing"]
    other_kind = "const" in schema and type(value) is not type(schema["const"])  # true is not 1
    if other_kind or value != schema.get("const", value) or value not in schema.get("enum", [value]):
        return [f"{value!r} is not allowed"]
    return [*_text_faults(value, schema), *_parts_faults(value, schema)]


def _text_faults(value: Any, schema: dict[str, Any]) -> list[str]:
    found = []
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{value!r} does not match {schema['pattern']}")
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        found.append(f"{value!r} is too short")
    too_small = isinstance(value, int | float) and (
        value < schema.get("minimum", value) or value <= schema.get("exclusiveMinimum", value - 1)
    )
    if too_small:
        found.append(f"{value} is too small")
    if schema.get("format") == "date-time":
        with suppress(ValueError):
            datetime.fromisoformat(value)
            return found
        found.append(f"{value!r} is no date")
    return found


def _parts_faults(value: Any, schema: dict[str, Any]) -> list[str]:
    found = []
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{len(value)} items")
        found += [fault for item in value for fault in faults(item, schema.get("items", {}))]
    if isinstance(value, dict):
        found += [f"{name} is missing" for name in schema.get("required", ()) if name not in value]
        if len(value) < schema.get("minProperties", 0):
            found.append("empty")
        for name, part in value.items():
            found += faults(name, schema.get("propertyNames", {}))
            rule = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
            found += [f"{name} is not known"] if rule is False else faults(part, rule)
    return found


def test_schema_and_driver_name_the_same_fields() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert list(SCHEMA["properties"]) == SCHEMA["required"] == list(FIELDS)
    assert SCHEMA["properties"]["links"]["items"]["enum"] == list(LINKS)
    assert SCHEMA["properties"]["config"]["required"] == list(CONFIG.to_dict())
    assert all(field["description"] for field in SCHEMA["properties"].values())


CHANGES: list[dict[str, Any]] = [
    {},
    {"registers_checked": {"count": 5, "csr_sha256": "b" * 64}},
    {"date": "2026-11-28T01:12:09Z"},
    {"more": 1},
    {"schema": 2},
    {"schema": True},
    {"board": "Colorlight i5"},
    {"idcode": "41111043"},
    {"config_digest": "ABCDEF0123456789"},
    {"abi": "1"},
    {"clock_hz": 0},
    {"clock_hz": 75.5},
    {"links": []},
    {"links": ["telegraph"]},
    {"files": {}},
    {"files": {"../up": {"sha256": "0" * 64, "bytes": 1}}},
    {"files": {"a.bit": {"sha256": "0" * 64}}},
    {"registers_checked": {"count": 0, "csr_sha256": "b" * 64}},
    {"clocks": {"sys": {"asked_mhz": 75.0}}},
    {"utilisation": {"DP16KD": [1, 2, 3]}},
    {"seeds": {"one": 71.0}},
    {"tools": {"yosys": ""}},
    {"source_commit": "main"},
    {"date": "yesterday"},
    {"date": "2026-13-28T01:12:09Z"},
    {"clocks": {"sys": {"asked_mhz": 0, "reached_mhz": 71.3, "margin": 0.188}}},
    {"rebuild": "rm -rf /"},
]


@pytest.mark.parametrize("changes", CHANGES, ids=[str(n) for n in range(len(CHANGES))])
def test_schema_and_driver_agree(changes: dict[str, Any]) -> None:
    """What one refuses the other refuses."""
    named = {"spatten.bit": {"sha256": "0" * 64, "bytes": 1}}
    manifest = record(**({"files": named} | changes))
    by_driver = [name for name, (rule, _) in FIELDS.items() if not rule(manifest[name])]
    by_schema = faults(manifest, SCHEMA)
    assert bool(by_driver) == bool(by_schema), (by_driver, by_schema)
    assert bool(by_driver) is (CHANGES.index(changes) > 3)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "bitstreams").glob("*/manifest.json")), ids=lambda path: path.parent.name
)
def test_shipped_bitstreams_are_whole(path: Path) -> None:
    found = Bitstream.load(path.parent)
    found.verify()
    assert found.board == path.parent.name
    assert faults(json.loads(path.read_text("utf-8")), SCHEMA) == []
    assert found.record["registers_checked"] is not None
    assert verify_id(int(found.record["idcode"], 16)) in (path.parent / "spatten.bit").read_bytes()


def verify_id(idcode: int) -> bytes:
    """By which a bitstream asks the chip whether it is the one (Lattice FPGA-TN-02039, VERIFY_ID)."""
    return bytes([0xE2, 0, 0, 0]) + idcode.to_bytes(4, "big")
