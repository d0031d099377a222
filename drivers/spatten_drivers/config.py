# SPDX-License-Identifier: BSD-2-Clause
"""The frozen configuration that gateware, software model and host share (``docs/contract.md``, section 1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

from .errors import ConfigError

ABI_MAJOR, ABI_MINOR = 1, 1
#: Minor version by each version of the contract that this release speaks, as manifests write it.
ABI_VERSIONS = {f"{ABI_MAJOR}.{minor}": minor for minor in range(ABI_MINOR + 1)}
HEAD_DIMS = (32, 64, 96, 128)


@dataclass(frozen=True)
class AcceleratorConfig:
    """What one bitstream can do.

    Parameters
    ----------
    lanes : multipliers of the Q x K array, and as many of the probability x V array.
    head_dims : head dimensions the arrays accept, in elements.
    max_sequence : most slots (tokens) of a sequence.
    max_heads : most heads of a layer.
    operand_bits : widest K or V integer, MSB plane plus LSB plane, in bits.
    kv_buffer_rows : rows of K, and rows of V, kept on chip and reused over queries.
    query_buffer_rows : query rows prefetched on chip.
    topk_parallelism : elements a cycle of the top-k engine.
    job_queue_depth : jobs that can wait behind the running one.
    beat_bytes : bytes of one DRAM beat; rows are padded to it.
    abi_minor : minor version of the contract that it speaks; bitstreams of an older one stay usable.

    Raises
    ------
    ConfigError : a field is outside its legal range; the message names field, value and rule.
    """

    lanes: int = 64
    head_dims: tuple[int, ...] = (32, 64)
    max_sequence: int = 1024
    max_heads: int = 16
    operand_bits: int = 12
    kv_buffer_rows: int = 1024
    query_buffer_rows: int = 64
    topk_parallelism: int = 16
    job_queue_depth: int = 16
    beat_bytes: int = 16
    abi_minor: int = ABI_MINOR

    def __post_init__(self) -> None:
        self._require("lanes", _is_power_of_two(self.lanes, 8, 1024), "a power of two from 8 to 1024")
        some = isinstance(self.head_dims, tuple | list) and len(self.head_dims) > 0
        dims_known = some and all(dim in HEAD_DIMS for dim in self.head_dims)
        self._require("head_dims", dims_known, f"a non-empty subset of {HEAD_DIMS}")
        object.__setattr__(self, "head_dims", tuple(dim for dim in HEAD_DIMS if dim in self.head_dims))
        self._require("max_sequence", _is_within(self.max_sequence, 16, 1024), "16 to 1024")
        self._require("max_heads", _is_within(self.max_heads, 1, 16), "1 to 16")
        bits = _is_within(self.operand_bits, 12, 16) and self.operand_bits in (12, 16)
        self._require("operand_bits", bits, "12 or 16")
        rows = _is_within(self.kv_buffer_rows, 0, self.max_sequence)
        self._require("kv_buffer_rows", rows, f"0 to max_sequence ({self.max_sequence})")
        self._require("query_buffer_rows", _is_within(self.query_buffer_rows, 1, 1024), "1 to 1024")
        parallel = _is_power_of_two(self.topk_parallelism, 1, 64)
        self._require("topk_parallelism", parallel, "a power of two from 1 to 64")
        self._require("job_queue_depth", _is_within(self.job_queue_depth, 1, 64), "1 to 64")
        self._require("beat_bytes", _is_power_of_two(self.beat_bytes, 4, 64), "a power of two from 4 to 64")
        self._require("abi_minor", _is_within(self.abi_minor, 0, ABI_MINOR), f"0 to {ABI_MINOR}")

    def _require(self, name: str, legal: bool, rule: str) -> None:
        if not legal:
            raise ConfigError(f"AcceleratorConfig.{name} is {getattr(self, name)!r}; expected {rule}")

    @property
    def abi(self) -> str:
        """Version of the contract that it speaks, as manifests write it."""
        return f"{ABI_MAJOR}.{self.abi_minor}"

    @property
    def canonical_json(self) -> str:
        """The text whose SHA-256 is the digest: sorted keys, no white space."""
        record = {**self.to_dict(), "abi": self.abi}
        return json.dumps(record, sort_keys=True, separators=(",", ":"))

    @cached_property
    def digest(self) -> int:
        """64-bit identity of the configuration, as the registers and the manifest carry it."""
        return int.from_bytes(hashlib.sha256(self.canonical_json.encode()).digest()[:8], "big")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able fields, as a manifest stores them beside the version of the contract."""
        record = {**asdict(self), "head_dims": list(self.head_dims)}
        del record["abi_minor"]
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], abi: str = f"{ABI_MAJOR}.{ABI_MINOR}") -> AcceleratorConfig:
        """The inverse of :meth:`to_dict`.

        Parameters
        ----------
        record : exactly its fields.
        abi : the version that stands beside them.

        Raises
        ------
        ConfigError : unknown or missing fields, a field out of range, a version that this release does not
            speak.
        """
        if abi not in ABI_VERSIONS:
            raise ConfigError(f"abi is {abi!r}; this release speaks {' and '.join(ABI_VERSIONS)}")
        known = {field.name for field in fields(cls)} - {"abi_minor"}
        if set(record) != known:
            odd = sorted(set(record) ^ known)
            raise ConfigError(
                f"configuration record differs in the fields {odd}; expected exactly {sorted(known)}"
            )
        return cls(**{**record, "head_dims": tuple(record["head_dims"]), "abi_minor": ABI_VERSIONS[abi]})

    def differences(self, other: AcceleratorConfig) -> dict[str, tuple[Any, Any]]:
        """Fields in which two configurations differ, each as ``(self, other)``."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return {name: (mine, theirs) for name, mine, theirs in pairs if mine != theirs}


def _is_within(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_power_of_two(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and _is_within(value, low, high) and value & (value - 1) == 0


PRESETS: dict[str, AcceleratorConfig] = {
    # 64 + 64 of the ECP5-85F's 156 multipliers; a x16 DDR3 burst of eight is a beat of 16 bytes.
    "ecp5-85f": AcceleratorConfig(),
    # What routes on the same chip with DDR3 and Ethernet around it: a quarter of the lanes.
    "ecp5-85f-slim": AcceleratorConfig(
        lanes=16, kv_buffer_rows=512, query_buffer_rows=32, topk_parallelism=4
    ),
    # Block RAM for half the rows and a quarter of the lanes; a x16 SDRAM behind a 32-bit port.
    "ecp5-25f": AcceleratorConfig(
        lanes=8, kv_buffer_rows=128, max_sequence=512, topk_parallelism=4, query_buffer_rows=16, beat_bytes=4
    ),
    # What fits the same chip with a system around it: all is smaller that can be, but for head dimensions.
    "ecp5-25f-slim": AcceleratorConfig(
        lanes=8,
        kv_buffer_rows=128,
        max_sequence=256,
        max_heads=12,
        topk_parallelism=1,
        query_buffer_rows=16,
        job_queue_depth=4,
        beat_bytes=4,
    ),
    # 64 + 64 of the 220 DSP slices, which take 16-bit operands as they take 12-bit ones; K and V of 1024 rows
    # in 58 of the 140 block RAMs; an AXI HP port of 64 bits is a beat of 8 bytes.
    "zynq-7020": AcceleratorConfig(operand_bits=16, beat_bytes=8),
    # The paper's Table I: 512 multipliers an array, 1024 rows, 16 comparators a side.
    "paper": AcceleratorConfig(lanes=512, operand_bits=16, head_dims=(32, 64, 96, 128), beat_bytes=32),
}
DEFAULT_PRESET = "ecp5-85f"


def config_from_digest(digest: int) -> AcceleratorConfig | None:
    """The preset with this digest, in whatever version of the contract, or ``None`` if none has it."""
    versions = (replace(c, abi_minor=m) for c in PRESETS.values() for m in ABI_VERSIONS.values())
    return next((config for config in versions if config.digest == digest), None)
