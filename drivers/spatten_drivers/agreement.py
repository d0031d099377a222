# SPDX-License-Identifier: BSD-2-Clause
"""A bitstream's manifest held against its files and against itself: what stands twice must be the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .devices.csr_map import CsrMap
from .errors import ConfigError, DeviceMismatchError
from .sizes import bytes_of

_TARGET = re.compile(r"python3 -m spatten_fpga\.targets\.(\w+)")
_IDENTIFIER = re.compile(r"spatten, abi (\S+), configuration ([0-9a-f]{16})")
_MEMORY = re.compile(r"^memory: (\S+)$", re.MULTILINE)
#: How ecppack begins a bitstream: the part by its name, and the command by which the FPGA compares its idcode
#: (Lattice FPGA-TN-02039, VERIFY_ID).
_COMMENT = re.compile(rb"Part: ([^\0]+)\0")
_VERIFY_ID = re.compile(rb"\xe2\0\0\0(.{4})", re.DOTALL)
#: Device, speed grade and pins in a part's name: Lattice and ecppack have other letters for the same package.
PART = re.compile(r"(LFE5U\w*-\d+F)-(\d)\D+(\d+)")
_HALF_A_DIGIT = 0.005, 0.0006  # of MHz and of margins as they are rounded, the latter with a little on top


class Twice(NamedTuple):
    """A field of a manifest, and what stands elsewhere of the same."""

    field: str
    value: Any
    elsewhere: str
    other: Any

    def __str__(self) -> str:
        return f"{self.field} is {self.value}, but {self.elsewhere} is {self.other}"


def contradictions(record: Mapping[str, Any], bit: Path, csr: Path, config: Path) -> Iterator[str]:
    """What differs, a line each with both values. What a file does not say is not held against it.

    Parameters
    ----------
    record : the manifest, each of its fields of its kind.
    bit, csr, config : the bitstream, register map and configuration; a missing one is passed over.
    """
    pairs = [*_of_itself(record), *_of_clocks(record)]
    for path, held in ((bit, _of_bitstream), (csr, _of_map), (config, _of_configuration)):
        try:
            pairs += held(path, record) if path.is_file() else ()
        except (DeviceMismatchError, ConfigError) as error:
            yield f"{path.name}: {error}"
    yield from (str(pair) for pair in pairs if pair.value != pair.other)


def _of_itself(record: Mapping[str, Any]) -> Iterator[Twice]:
    if target := _TARGET.match(record["rebuild"]):
        yield Twice("board", record["board"], "that of rebuild", target[1])
    seed, seeds = str(record["seed"]), record["seeds"]
    if seed in seeds:
        reached = record["clocks"].get("sys", {}).get("reached_mhz")
        yield Twice(f"seeds.{seed}", seeds[seed], "clocks.sys.reached_mhz", reached)
    else:
        yield Twice("seed", seed, "what seeds has", ", ".join(seeds))


def _of_clocks(record: Mapping[str, Any]) -> Iterator[Twice]:
    """Margins; both frequencies are rounded, so of a slow clock with much in hand less is known."""
    for name, clock in record["clocks"].items():
        asked, ratio = clock["asked_mhz"], clock["reached_mhz"] / clock["asked_mhz"]
        mhz, rounded = _HALF_A_DIGIT
        if abs(clock["margin"] - (ratio - 1)) > rounded + mhz * (1 + ratio) / asked:
            yield Twice(
                f"clocks.{name}.margin", clock["margin"], "reached_mhz / asked_mhz - 1", f"{ratio - 1:.3f}"
            )


def _of_bitstream(path: Path, record: Mapping[str, Any]) -> Iterator[Twice]:
    data = path.read_bytes()
    if code := _VERIFY_ID.search(data):
        yield Twice("idcode", record["idcode"], f"that of {path.name}", f"0x{code[1].hex()}")
    part = _COMMENT.search(data)
    name = part[1].decode("latin-1") if part else ""
    ours, its = PART.match(record["device"]), PART.match(name)
    if its and (ours is None or ours.groups() != its.groups()):
        yield Twice("device", record["device"], f"the part of {path.name}", name)


def _of_map(path: Path, record: Mapping[str, Any]) -> Iterator[Twice]:
    csr_map = CsrMap.load(path)
    if clock := csr_map.constants.get("config_clock_frequency"):
        yield Twice("clock_hz", record["clock_hz"], f"config_clock_frequency of {path.name}", clock)
    if said := _IDENTIFIER.fullmatch(str(csr_map.constants.get("config_identifier"))):
        abi, digest = said.groups()
        yield Twice("abi", record["abi"], f"that of {path.name}", abi)
        yield Twice("config_digest", record["config_digest"], f"that of {path.name}", digest)


def _of_configuration(path: Path, record: Mapping[str, Any]) -> Iterator[Twice]:
    if memory := _MEMORY.search(path.read_text("utf-8", "replace")):
        yield Twice("memory_bytes", record["memory_bytes"], f"memory of {path.name}", bytes_of(memory[1]))
