# SPDX-License-Identifier: BSD-2-Clause
"""The folder of a bitstream: ``manifest.json``, the files that it names, and what the device must answer.

``bitstreams/manifest.schema.json`` in the source tree describes the manifest for other programs; the rules
here are the same, so that a driver needs nothing but NumPy.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from .agreement import contradictions
from .config import AcceleratorConfig
from .errors import BitstreamError, ConfigError, DeviceMismatchError

if TYPE_CHECKING:
    from .devices.base import Device

MANIFEST, SCHEMA = "manifest.json", 1
BITSTREAM, REGISTER_MAP, DRAM, CONFIG = "spatten.bit", "csr.json", "dram.json", "config.yml"
#: Files that every folder has, and those of some systems: how memory is made ready, what LiteScope samples.
NEEDED, OPTIONAL = (BITSTREAM, "spatten.svf.gz", REGISTER_MAP, CONFIG), (DRAM, "analyzer.csv")
#: Those and the register map for LiteX's tools, which a driver does not read and older manifests do not name.
FILES = (*NEEDED, *OPTIONAL, "csr.csv")
#: What the manifests of a simulator and of a bare core have, and no bitstream's has.
OTHER_KINDS = frozenset({"library", "ports"})
LINKS = ("spl-udp", "etherbone", "uart", "spl-uart")

Rule = Callable[[Any], bool]


def _text(pattern: str) -> Rule:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _count(least: int = 0) -> Rule:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_frequency(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_date(value: Any) -> bool:
    """Of the form that the schema has, and in the calendar."""
    try:
        return _text(_DATE)(value) and datetime.fromisoformat(value) is not None
    except ValueError:
        return False


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_count(), value))


def _table(of: Rule, names: str = ".+") -> Rule:
    key = _text(names)
    return lambda value: (
        isinstance(value, dict) and len(value) > 0 and all(key(k) and of(v) for k, v in value.items())
    )


def _record(**rules: Rule) -> Rule:
    return lambda value: isinstance(value, dict) and all(n in value and r(value[n]) for n, r in rules.items())


_SHA256 = _text("[0-9a-f]{64}")
_FILE = _record(sha256=_SHA256, bytes=_count())
_CLOCK = _record(asked_mhz=_is_frequency, reached_mhz=_is_frequency, margin=_is_number)
_CHECKED = _record(count=_count(1), csr_sha256=_SHA256)
_DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)"

#: Every field of a manifest, what it must be, and that in words.
FIELDS: dict[str, tuple[Rule, str]] = {
    "schema": (lambda value: value is not True and value == SCHEMA, f"{SCHEMA}"),
    "board": (_text("[a-z0-9_]+"), "a name of a board such as ecpix5"),
    "device": (_text("LFE5U.+"), "the FPGA with its package, such as LFE5UM5G-85F-8BG554I"),
    "idcode": (_text("0x[0-9a-f]{8}"), "the JTAG code of the FPGA, such as 0x81113043"),
    "preset": (_text(".+"), "the name of a configuration"),
    "config": (lambda value: isinstance(value, dict), "every field of an AcceleratorConfig"),
    "config_digest": (_text("[0-9a-f]{16}"), "16 hex digits"),
    "abi": (_text(r"\d+\.\d+"), "MAJOR.MINOR"),
    "clock_hz": (_count(1), "the system's clock in Hz"),
    "memory_bytes": (_count(1), "bytes of memory that jobs may reach"),
    "dram": (_text(".+"), "the name of the DRAM"),
    "links": (
        lambda value: isinstance(value, list) and len(value) > 0 and all(link in LINKS for link in value),
        f"one or more of {', '.join(LINKS)}",
    ),
    "files": (_table(_FILE, r"[A-Za-z0-9_][A-Za-z0-9_.-]*"), "sha256 and bytes of every file by name"),
    "verilog_sha256": (_SHA256, "64 hex digits"),
    "registers_checked": (lambda value: value is None or _CHECKED(value), "null, or count and csr_sha256"),
    "clocks": (_table(_CLOCK), "asked_mhz, reached_mhz and margin of every clock by name, finite numbers"),
    "utilisation": (_table(_is_pair), "how many are used and how many there are, by kind of cell"),
    "seed": (_count(), "the seed of the placement"),
    "seeds": (_table(_is_number, r"\d+"), "MHz of the system's clock by seed"),
    "tools": (_table(_text(".+")), "version of every tool by name"),
    "source_commit": (_text("[0-9a-f]{40}"), "40 hex digits"),
    "date": (_is_date, "date and time with a zone, ISO 8601"),
    "rebuild": (_text("python3 -m .+"), "the command that builds the same again, python3 -m ..."),
}


class FileRecord(NamedTuple):
    """What a manifest says of a file."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Bitstream:
    """A folder with a bitstream, by its manifest.

    Attributes
    ----------
    folder : with the files.
    record : the manifest as it stands there; each of :data:`FIELDS` is of its kind.
    """

    folder: Path
    record: Mapping[str, Any]

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read the manifest of a folder; its files are not looked at.

        Raises
        ------
        BitstreamError : there is none, or fields are missing or of another kind; names each with its value.
        """
        record = _read_manifest(Path(folder))
        if odd := list(_odd_fields(record)):
            path = Path(folder) / MANIFEST
            raise BitstreamError(f"{path}: {'; '.join(odd)}. Get the folder anew, or build it")
        return cls(Path(folder), record)

    @property
    def board(self) -> str:
        return str(self.record["board"])

    @property
    def digest(self) -> int:
        """Of the configuration, as the manifest has it."""
        return int(self.record["config_digest"], 16)

    @property
    def files(self) -> dict[str, FileRecord]:
        """By name."""
        return {name: FileRecord(of["sha256"], of["bytes"]) for name, of in self.record["files"].items()}

    @cached_property
    def config(self) -> AcceleratorConfig:
        """Raises :class:`BitstreamError` if this driver knows no such configuration, or not its ABI."""
        try:
            return AcceleratorConfig.from_dict(self.record["config"], self.record["abi"])
        except (ConfigError, TypeError) as error:
            raise BitstreamError(f"{self.folder / MANIFEST}: config: {error}") from error

    def verify(self) -> None:
        """Check everything that needs no device.

        Raises
        ------
        BitstreamError : names every file and field that does not match, with both values.
        """
        if found := self.problems():
            raise BitstreamError(
                f"{self.folder}: {'; '.join(found)}. Get the folder anew, or build it again: "
                f"{self.record['rebuild']}"
            )

    def problems(self) -> list[str]:
        """What does not match, a line each: files, digest of the configuration, what stands twice."""
        looked_into = (self.folder / name for name in (BITSTREAM, REGISTER_MAP, CONFIG))
        return [*self._odd_config(), *self._odd_files(), *contradictions(self.record, *looked_into)]

    def require_device(self, device: Device) -> None:
        """See that the device answers as the manifest says; it must have been identified.

        Raises
        ------
        DeviceMismatchError : names every field that differs, with both values.
        """
        pairs = {
            "config_digest": (self.record["config_digest"], f"{device.config.digest:016x}"),
            "abi": (self.record["abi"], device.config.abi),
            "memory_bytes": (self.record["memory_bytes"], device.memory_bytes),
        }
        fields = self.config.differences(device.config)
        pairs |= {f"config.{name}": values for name, values in fields.items() if name != "abi_minor"}
        odd = [
            f"{name} {ours} in the manifest, {its} on the device"
            for name, (ours, its) in pairs.items()
            if ours != its
        ]
        if odd:
            raise DeviceMismatchError(
                f"{device.name}: does not run {self.folder / BITSTREAM}: {'; '.join(odd)}. Load that "
                "bitstream (spatten load), or give the folder of the one that is loaded"
            )

    def _odd_config(self) -> Iterator[str]:
        try:
            digest = f"{self.config.digest:016x}"
        except BitstreamError as error:
            yield str(error)
            return
        if digest != self.record["config_digest"]:
            yield (
                f"config_digest is {self.record['config_digest']}, but that of config with abi "
                f"{self.record['abi']} is {digest}"
            )

    def _odd_files(self) -> Iterator[str]:
        files = self.files
        for name in (name for name in NEEDED if name not in files):
            yield f"files names no {name}"
        for name, of in files.items():
            yield from _odd_file(self.folder / name, of)
        for name in OPTIONAL:  # a build leaves more, which nobody reads
            if name not in files and (self.folder / name).exists():
                yield f"files does not name {name}, which is there"
        checked = self.record["registers_checked"]
        if checked and REGISTER_MAP in files and checked["csr_sha256"] != files[REGISTER_MAP].sha256:
            yield (
                f"registers_checked.csr_sha256 is {checked['csr_sha256']}, that of {REGISTER_MAP} "
                f"{files[REGISTER_MAP].sha256}"
            )


def bitstream_beside(path: Path) -> Bitstream | None:
    """The verified bitstream in whose folder a file lies.

    ``None`` if there is no manifest, as in the folder of a build that has not ended, or one of another kind:
    simulators and bare cores have theirs beside their register map.

    Raises
    ------
    BitstreamError : the manifest cannot be read, or the folder does not match it.
    """
    if not path.with_name(MANIFEST).exists():
        return None
    record = _read_manifest(path.parent)
    if isinstance(record, dict) and "schema" not in record and OTHER_KINDS & record.keys():
        return None
    found = Bitstream.load(path.parent)
    found.verify()
    return found


def _read_manifest(folder: Path) -> Any:
    path = folder / MANIFEST
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BitstreamError(
            f"{path}: cannot be read: {error.strerror}; expected the folder of a bitstream, such as "
            "bitstreams/ecpix5"
        ) from error
    except ValueError as error:
        raise BitstreamError(f"{path}: no JSON: {error}. Get the folder anew") from error


def _odd_fields(record: Any) -> Iterator[str]:
    if not isinstance(record, dict):
        yield f"holds {type(record).__name__}, expected an object"
        return
    for name, (rule, words) in FIELDS.items():
        if name not in record:
            yield f"has no field {name}; expected {words}"
        elif not rule(record[name]):
            shown = json.dumps(_odd_part(rule, record[name]))
            yield f"{name} is {shown if len(shown) <= 80 else shown[:79] + '…'}; expected {words}"


def _odd_part(rule: Rule, value: Any) -> Any:
    """Of a table the entries that break the rule; of anything else all of it."""
    parts = {k: v for k, v in value.items() if not rule({k: v})} if isinstance(value, dict) else {}
    return parts or value


def _odd_file(path: Path, wanted: FileRecord) -> Iterator[str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        yield f"{path.name} cannot be read: {error.strerror}"
        return
    if len(data) != wanted.bytes:
        yield f"{path.name} has {len(data):,} bytes, the manifest says {wanted.bytes:,}"
    if (found := hashlib.sha256(data).hexdigest()) != wanted.sha256:
        yield f"{path.name} has SHA-256 {found}, the manifest says {wanted.sha256}"
