# SPDX-License-Identifier: BSD-2-Clause
"""The configuration and its digest (contract, section 1)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

ABI_MAJOR, ABI_MINOR = 1, 1


@dataclass(frozen=True)
class OracleConfig:
    """The fields, four of which change cycles and digest only, and the minor version it speaks."""

    head_dims: tuple[int, ...] = (32, 64)
    max_sequence: int = 64
    max_heads: int = 4
    operand_bits: int = 16
    kv_buffer_rows: int = 64
    beat_bytes: int = 16
    lanes: int = 32
    topk_parallelism: int = 8
    query_buffer_rows: int = 2
    job_queue_depth: int = 4
    abi_minor: int = ABI_MINOR

    def canonical_json(self) -> str:
        """All fields and the ABI version, keys sorted, no white space."""
        record = asdict(self)
        record["abi"] = f"{ABI_MAJOR}.{record.pop('abi_minor')}"
        return json.dumps(record, sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> int:
        """The first 8 bytes of the SHA-256 of the canonical JSON, as a big-endian number."""
        return int.from_bytes(hashlib.sha256(self.canonical_json().encode()).digest()[:8], "big")
