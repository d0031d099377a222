# SPDX-License-Identifier: BSD-2-Clause
"""The answer of a layer job and its binary form (``docs/contract.md``, section 10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from .config import ABI_MAJOR, ABI_MINOR
from .fields import Counter, Field, Table, Word, packed, unpack, whole
from .job import HEADER_BYTES, HEADER_WORDS, SLOT_MASK, LayerJob
from .planes import padded

ANSWER_MAGIC = int.from_bytes(b"SPTA", "little")


class Status(IntEnum):
    """How a job ended."""

    PENDING = 0
    DONE = 1
    BAD_ADDRESS = 2
    BAD_MAGIC = 3
    BAD_VERSION = 4
    BAD_DIGEST = 5
    BAD_FIELD = 6
    BAD_LIST = 7
    EMPTY_ROW = 8
    WATCHDOG = 9
    ABORTED = 10
    MEMORY_FAULT = 11


STATUS_HELP = {
    Status.PENDING: "The job has not ended.",
    Status.DONE: "The answer is complete.",
    Status.BAD_ADDRESS: "An address or stride is not beat-aligned, or a region leaves device memory.",
    Status.BAD_MAGIC: "The descriptor does not begin with SPTJ.",
    Status.BAD_VERSION: "The descriptor is of another ABI major version, or of a newer minor one.",
    Status.BAD_DIGEST: "The job was made for another configuration.",
    Status.BAD_FIELD: "A field is out of range, or a reserved bit is set.",
    Status.BAD_LIST: "A head, key or query list is not ascending or out of range.",
    Status.EMPTY_ROW: "A query sees no key.",
    Status.WATCHDOG: "The job ran longer than the WATCHDOG register allows.",
    Status.ABORTED: "CONTROL.ABORT was written.",
    Status.MEMORY_FAULT: "The memory controller reported an error.",
}

ANSWER_WORDS: tuple[Word, ...] = (
    whole("magic", 0, "The letters SPTA.", ANSWER_MAGIC),
    Word(
        "version",
        1,
        (
            Field("abi_minor", 0, 16, "Contract minor version of the device.", ABI_MINOR),
            Field("abi_major", 16, 16, "Contract major version of the device.", ABI_MAJOR),
        ),
    ),
    whole("job_id", 2, "As in the descriptor."),
    whole("status", 3, "How the job ended; written last."),
    whole("config_digest_lo", 4, "Lower half of the device's digest."),
    whole("config_digest_hi", 5, "Upper half of the device's digest."),
    Word(
        "survivors",
        6,
        (
            Field("n_tokens", 0, 16, "Surviving tokens."),
            Field("n_heads", 16, 16, "Surviving heads."),
        ),
    ),
    whole("refetched_rows", 7, "Rows (head, query) that fetched LSBs and were redone."),
    whole("keys_fetched", 8, "K MSB rows fetched."),
    whole("values_fetched", 9, "V MSB rows fetched."),
)

_HEADER = Table(ANSWER_WORDS)

#: 64-bit byte counters, equal on every device.
BYTE_COUNTERS: tuple[Counter, ...] = (
    Counter("read_q", 12, "Query rows read, bytes."),
    Counter("read_k_msb", 14, "K MSB rows read, bytes."),
    Counter("read_k_lsb", 16, "K LSB rows read, bytes."),
    Counter("read_v_msb", 18, "V MSB rows read, bytes."),
    Counter("read_v_lsb", 20, "V LSB rows read, bytes."),
    Counter("read_importance", 22, "Running importance read, bytes."),
    Counter("read_control", 24, "Descriptor read, bytes."),
    Counter("written_output", 26, "Output rows written, bytes."),
    Counter("written_importance", 28, "Running importance written, bytes."),
    Counter("written_control", 30, "Answer written, bytes."),
)

#: 64-bit cycle counters of the hardware, 0 elsewhere: not part of the equality.
CYCLE_COUNTERS: tuple[Counter, ...] = (
    Counter("cycles", 32, "Clock cycles from the first descriptor word read to the status written."),
    Counter("busy_qk", 34, "Cycles in which the Q x K array worked."),
    Counter("busy_pv", 36, "Cycles in which the probability x V array worked."),
    Counter(
        "stall_read", 38, "Cycles in which neither array worked: rows waited for queries, keys or values."
    ),
    Counter("stall_write", 40, "Cycles in which neither array worked: outputs waited for the write port."),
    Counter(
        "stall_softmax", 42, "Cycles in which neither array worked: all rows in flight were at the softmax."
    ),
    Counter("stall_topk", 44, "Cycles in which neither array worked: all rows in flight were behind top-k."),
)

COUNTERS = BYTE_COUNTERS + CYCLE_COUNTERS
_COUNTER_NAMES = [counter.name for counter in COUNTERS]
#: Where the counters lie in the header as 64-bit words: one behind the other.
_COUNTER_PLACES = slice(COUNTERS[0].index // 2, COUNTERS[0].index // 2 + len(COUNTERS))


@dataclass(frozen=True, eq=False)
class JobAnswer:
    """What a job gives back. Compare two devices with :meth:`same_bits`.

    Attributes
    ----------
    fields : header fields of :data:`ANSWER_WORDS` by name.
    counters : :data:`COUNTERS` by name, bytes or cycles.
    output : ``int16 [n_heads, n_queries, D]``, in units of ``v_scale * 2**-(16 - value bits)``.
    tokens : ``uint16`` surviving slots, ascending, with the protected bit as in the key list.
    heads : ``uint16`` surviving head ids, ascending.
    token_importance : ``uint32 [n_slots]``, units of 2^-12.
    head_importance : ``uint64 [total_heads]``, units of 2^-12.
    device : name of the device that answered, with its digest.
    """

    fields: dict[str, int]
    counters: dict[str, int]
    output: NDArray[np.int16]
    tokens: NDArray[np.uint16]
    heads: NDArray[np.uint16]
    token_importance: NDArray[np.uint32]
    head_importance: NDArray[np.uint64]
    device: str = field(default="", compare=False)

    @property
    def status(self) -> Status:
        return Status(self.fields["status"])

    @property
    def token_slots(self) -> NDArray[np.int64]:
        """Surviving slots without the protected bit."""
        return (self.tokens & SLOT_MASK).astype(np.int64)

    def differences(self, other: JobAnswer) -> list[str]:
        """Names of the answer fields whose bits differ; cycles and stalls are not compared."""
        names = [f"field {k}" for k in self.fields if self.fields[k] != other.fields[k]]
        names += [c.name for c in BYTE_COUNTERS if self.counters[c.name] != other.counters[c.name]]
        arrays = ("output", "tokens", "heads", "token_importance", "head_importance")
        return names + [a for a in arrays if not np.array_equal(getattr(self, a), getattr(other, a))]

    def same_bits(self, other: JobAnswer) -> bool:
        return not self.differences(other)


def answer_bytes(keep_tokens: int, keep_heads: int, beat_bytes: int) -> int:
    """Length of the answer block: header and both survivor lists."""
    return HEADER_BYTES + padded(2 * keep_tokens, beat_bytes) + padded(2 * keep_heads, beat_bytes)


def encode_header(fields: dict[str, int], counters: dict[str, int]) -> NDArray[np.uint8]:
    """The 256 bytes of an answer header."""
    words = packed(_HEADER, fields, HEADER_WORDS)
    for counter in COUNTERS:
        value = counters.get(counter.name, 0)
        words[counter.index], words[counter.index + 1] = value & 0xFFFFFFFF, value >> 32
    return np.array(words, "<u4").view(np.uint8)


def decode_header(raw: NDArray[np.uint8]) -> tuple[dict[str, int], dict[str, int]]:
    """Header fields and counters by name from the first 256 bytes of an answer."""
    header = raw[:HEADER_BYTES]
    numbers = header.view("<u8")[_COUNTER_PLACES].tolist()
    return unpack(_HEADER, header.view("<u4")), dict(zip(_COUNTER_NAMES, numbers, strict=True))


def dense_rows(job: LayerJob, kv_buffer_rows: int) -> int:
    """K rows (and V rows) that a job of this shape would fetch with nothing pruned (section 8)."""
    if reuses_rows(job, kv_buffer_rows):
        return job["total_heads"] * job["n_slots"]
    queries = job.queries.tolist()
    seen = sum(queries) + len(queries) if job["causal"] else job["n_slots"] * len(queries)
    return int(job["total_heads"] * seen)


def reuses_rows(job: LayerJob, kv_buffer_rows: int) -> bool:
    """Whether K and V of a head are fetched once and reused over the job's queries."""
    return job["n_queries"] > 1 and job["n_keys"] <= kv_buffer_rows
