# SPDX-License-Identifier: BSD-2-Clause
"""What a device checks before it runs a job, in the order of ``docs/contract.md``, section 9.

The rules take plain numbers, so that :mod:`~spatten_drivers.model.step` can compile them as they are.
"""

from __future__ import annotations

from collections import namedtuple
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..answer import Status, answer_bytes
from ..config import ABI_MAJOR, AcceleratorConfig
from ..fields import Table, reserved_bits
from ..job import (
    HEADER_BYTES,
    HEADER_WORDS,
    JOB_MAGIC,
    JOB_WORDS,
    WORDS_SINCE_1,
    KeyPolicy,
    LayerJob,
    ValuePolicy,
    decode_header,
    decode_tables,
    table_places,
)
from ..planes import LSB_WIDTH, MSB_WIDTHS, padded, row_bytes

_WORDS_OF_0 = [word for word in JOB_WORDS if word.name not in WORDS_SINCE_1]
#: Bits that must be zero, by the minor version of the device.
RESERVED = [reserved_bits(words, HEADER_WORDS) for words in (_WORDS_OF_0, JOB_WORDS)]

_NAMES = [name for name, *_ in Table(JOB_WORDS).places]
#: All fields of a descriptor's header by name; typed loosely, as the names come from the table.
Header: Any = namedtuple("Header", _NAMES)  # type: ignore[misc]  # mypy wants the names written out
#: The same fields as a record of NumPy, which costs compiled code nothing to hand on.
HEADER = np.dtype([(name, np.int64) for name in _NAMES])


class Limits(NamedTuple):
    """What a configuration allows, as plain numbers; ``head_dims`` are always four, some of them repeated."""

    beat_bytes: int
    digest_lo: int
    digest_hi: int
    abi_minor: int
    max_heads: int
    max_sequence: int
    operand_bits: int
    head_dims: tuple[int, ...]


@lru_cache
def limits_of(config: AcceleratorConfig) -> Limits:
    """The limits of a configuration."""
    digest = config.digest
    return Limits(
        config.beat_bytes,
        digest & 0xFFFFFFFF,
        digest >> 32,
        config.abi_minor,
        config.max_heads,
        config.max_sequence,
        config.operand_bits,
        (4 * config.head_dims)[:4],
    )


class JobRejected(Exception):
    """A check failed. ``fields`` holds the header if the answer address can be trusted."""

    def __init__(self, status: Status, fields: dict[str, int] | None = None) -> None:
        super().__init__(status.name)
        self.status = status
        self.fields = fields


def checked_job(memory: NDArray[np.uint8], address: int, config: AcceleratorConfig) -> LayerJob:
    """The job at ``address``, or :class:`JobRejected` with the status of the first failing check."""
    beat, room, limits = config.beat_bytes, memory.size, limits_of(config)
    if not lies_inside(address, HEADER_BYTES, beat, room):
        raise JobRejected(Status.BAD_ADDRESS)
    raw = memory[address : address + HEADER_BYTES]
    fields = decode_header(raw)
    header = Header(**fields)
    _require(identity_fault(header, limits, room), None)
    reserved = bool((raw.view("<u4") & RESERVED[config.abi_minor]).any())
    _require(header_fault(header, limits, reserved, address, room), fields)
    # A copy: what the job writes may overlap it, and what was checked must stay so.
    job = decode_tables(fields, memory[address : address + fields["descriptor_bytes"]].copy(), beat)
    _require(Status.DONE if _lists_legal(job) else Status.BAD_LIST, fields)
    first_key, first_query = int(job.key_slots[0]), int(job.queries[0])
    _require(region_fault(header, beat, room, first_key, first_query), fields)
    return job


def _require(fault: int, fields: dict[str, int] | None) -> None:
    if fault != Status.DONE:
        raise JobRejected(Status(fault), fields)


def lies_inside(address: int, length: int, beat: int, room: int) -> bool:
    """Whether so many bytes begin at a beat and end in device memory of ``room`` bytes."""
    return address % beat == 0 and address >= 0 and address + length <= room


def identity_fault(h: Any, limits: Limits, room: int) -> int:
    """Status of the first failing check before the answer's address can be trusted, else ``DONE``."""
    if h.magic != JOB_MAGIC:
        return Status.BAD_MAGIC
    if h.abi_major != ABI_MAJOR or h.abi_minor > limits.abi_minor:
        return Status.BAD_VERSION
    if not lies_inside(h.answer_address, HEADER_BYTES, limits.beat_bytes, room):
        return Status.BAD_ADDRESS
    return Status.DONE


def header_fault(h: Any, limits: Limits, reserved: bool, address: int, room: int) -> int:
    """Status of the first failing check of the header, else ``DONE``; ``reserved`` if such a bit is set."""
    if h.config_digest_lo != limits.digest_lo or h.config_digest_hi != limits.digest_hi:
        return Status.BAD_DIGEST
    shape = geometry_legal(h, limits) and pruning_legal(h) and widths_legal(h, limits)
    if reserved or h.kind != 0 or not shape:
        return Status.BAD_FIELD
    if h.descriptor_bytes != table_places(h.n_heads, h.n_keys, h.n_queries, limits.beat_bytes)[2]:
        return Status.BAD_FIELD
    return Status.DONE if address + h.descriptor_bytes <= room else Status.BAD_ADDRESS


def geometry_legal(h: Any, limits: Limits) -> bool:
    """Counts and head dimension are possible on the device."""
    return (
        h.head_dim in limits.head_dims
        and 1 <= h.n_heads <= h.total_heads <= limits.max_heads
        and 1 <= h.n_queries <= h.n_slots
        and 1 <= h.n_keys <= h.n_slots <= limits.max_sequence
    )


def pruning_legal(h: Any) -> bool:
    """Something is kept, and no more than there is."""
    tokens, heads = 1 <= h.keep_tokens <= h.n_keys, 1 <= h.keep_heads <= h.n_heads
    return bool(tokens and heads and h.keep_values >= 1 and h.decay <= 1 << 16)


def widths_legal(h: Any, limits: Limits) -> bool:
    """Formats and policies are possible, each and together."""
    last_of_k = KeyPolicy.PROGRESSIVE if limits.abi_minor < 1 else KeyPolicy.BY_KEY
    return (
        h.q_bits in MSB_WIDTHS
        and planes_legal(h.k_msb_bits, h.k_lsb_bits, h.k_policy, last_of_k, limits.operand_bits)
        and planes_legal(h.v_msb_bits, h.v_lsb_bits, h.v_policy, ValuePolicy.ON_REFETCH, limits.operand_bits)
        and (h.v_policy != ValuePolicy.ON_REFETCH or h.k_policy == KeyPolicy.PROGRESSIVE)
        and share_legal(h)
    )


def share_legal(h: Any) -> bool:
    """Refetch by key is for a step of generation; its share is set there and nowhere else."""
    if h.k_policy != KeyPolicy.BY_KEY:
        return bool(h.refetch_shift == 0)
    return bool(h.n_queries == 1 and 1 <= h.refetch_shift <= 16)


def planes_legal(msb: int, lsb: int, policy: int, last: int, most: int) -> bool:
    """The two planes of K or of V, and the policy by which the second is read."""
    known = msb in MSB_WIDTHS and lsb in (0, LSB_WIDTH) and policy <= last
    return known and msb + lsb <= most and (lsb > 0 or policy == 0)


def _lists_legal(job: LayerJob) -> bool:
    def ascending(values: NDArray[np.integer], end: int) -> bool:
        return bool((values[1:] > values[:-1]).all()) and bool(values[-1] < end)

    return (
        ascending(job.heads["head_id"], job["total_heads"])
        and all(entry_legal(entry[1], *entry[4:]) for entry in job.heads.tolist())
        and ascending(job.key_slots, job["n_slots"])
        and ascending(job.queries, job["n_slots"])
        and int(np.count_nonzero(job.protected)) <= job["keep_tokens"]
    )


def entry_legal(score_shift: int, importance_shift: int, reserved: int) -> bool:
    """One entry of the head table."""
    return 1 <= score_shift <= 48 and importance_shift <= 47 and reserved == 0


def region_fault(h: Any, beat: int, room: int, first_key: int, first_query: int) -> int:
    """Status of the first failing check of the regions and of what queries see, else ``DONE``."""
    for start, stride, length in regions(h, beat):
        if stride % beat != 0 or not lies_inside(start, length, beat, room):
            return Status.BAD_ADDRESS
    return Status.EMPTY_ROW if h.causal and first_key > first_query else Status.DONE


def regions(h: Any, beat: int) -> tuple[tuple[int, int, int], ...]:
    """Every region the job uses as (address, stride, bytes); a plane without bits uses none."""
    rows = h.n_heads * h.n_queries
    return (
        (h.q_address, 0, rows * row_bytes(h.head_dim, h.q_bits, beat)),
        plane_region(h, h.k_msb_address, h.k_msb_stride, h.k_msb_bits, beat),
        plane_region(h, h.k_lsb_address, h.k_lsb_stride, h.k_lsb_bits, beat),
        plane_region(h, h.v_msb_address, h.v_msb_stride, h.v_msb_bits, beat),
        plane_region(h, h.v_lsb_address, h.v_lsb_stride, h.v_lsb_bits, beat),
        (h.output_address, 0, rows * padded(2 * h.head_dim, beat)),
        (h.token_importance_address, 0, padded(4 * h.n_slots, beat)),
        (h.head_importance_address, 0, padded(8 * h.total_heads, beat)),
        (h.answer_address, 0, answer_bytes(h.keep_tokens, h.keep_heads, beat)),
    )


def plane_region(h: Any, address: int, stride: int, width: int, beat: int) -> tuple[int, int, int]:
    """Of all heads, from the first slot to the last that holds a token."""
    if width == 0:
        return 0, 0, 0
    return address, stride, (h.total_heads - 1) * stride + h.n_slots * row_bytes(h.head_dim, width, beat)
