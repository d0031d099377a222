# SPDX-License-Identifier: BSD-2-Clause
"""What a device checks before it runs a job, in the order of ``docs/contract.md``, section 9."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..answer import Status, answer_bytes
from ..config import ABI_MAJOR, ABI_MINOR, AcceleratorConfig
from ..fields import reserved_bits
from ..job import (
    HEADER_BYTES,
    HEADER_WORDS,
    JOB_MAGIC,
    JOB_WORDS,
    KeyPolicy,
    LayerJob,
    ValuePolicy,
    decode_header,
    decode_tables,
    descriptor_bytes,
)
from ..planes import LSB_WIDTH, MSB_WIDTHS, padded, row_bytes

_LAST_POLICY = max(KeyPolicy)  # K and V number theirs alike
_RESERVED = reserved_bits(JOB_WORDS, HEADER_WORDS)


class JobRejected(Exception):
    """A check failed. ``fields`` holds the header if the answer address can be trusted."""

    def __init__(self, status: Status, fields: dict[str, int] | None = None) -> None:
        super().__init__(status.name)
        self.status = status
        self.fields = fields


def checked_job(memory: NDArray[np.uint8], address: int, config: AcceleratorConfig) -> LayerJob:
    """The job at ``address``, or :class:`JobRejected` with the status of the first failing check."""
    beat = config.beat_bytes
    if not _inside(memory, address, HEADER_BYTES, beat):
        raise JobRejected(Status.BAD_ADDRESS)
    raw = memory[address : address + HEADER_BYTES]
    fields = decode_header(raw)
    if fields["magic"] != JOB_MAGIC:
        raise JobRejected(Status.BAD_MAGIC)
    if fields["abi_major"] != ABI_MAJOR or fields["abi_minor"] > ABI_MINOR:
        raise JobRejected(Status.BAD_VERSION)
    if not _inside(memory, fields["answer_address"], HEADER_BYTES, beat):
        raise JobRejected(Status.BAD_ADDRESS)
    _require(
        fields["config_digest_lo"] | fields["config_digest_hi"] << 32 == config.digest,
        Status.BAD_DIGEST,
        fields,
    )
    reserved_zero = fields["kind"] == 0 and not (raw.view("<u4") & _RESERVED).any()
    _require(reserved_zero, Status.BAD_FIELD, fields)
    _require(_geometry_legal(fields, config), Status.BAD_FIELD, fields)
    _require(_pruning_legal(fields), Status.BAD_FIELD, fields)
    _require(_widths_legal(fields, config), Status.BAD_FIELD, fields)
    size = descriptor_bytes(fields, beat)
    _require(fields["descriptor_bytes"] == size, Status.BAD_FIELD, fields)
    _require(address + size <= memory.size, Status.BAD_ADDRESS, fields)
    job = decode_tables(fields, memory[address : address + size], beat)
    _require(_lists_legal(job), Status.BAD_LIST, fields)
    for start, stride, length in regions(fields, beat):
        _require(stride % beat == 0 and _inside(memory, start, length, beat), Status.BAD_ADDRESS, fields)
    _require(not job["causal"] or job.key_slots[0] <= job.queries[0], Status.EMPTY_ROW, fields)
    return job


def _require(legal: bool | np.bool_, status: Status, fields: dict[str, int]) -> None:
    if not legal:
        raise JobRejected(status, fields)


def _inside(memory: NDArray[np.uint8], address: int, length: int, beat: int) -> bool:
    return address % beat == 0 and address + length <= memory.size


def _geometry_legal(f: dict[str, int], config: AcceleratorConfig) -> bool:
    return (
        f["head_dim"] in config.head_dims
        and 1 <= f["n_heads"] <= f["total_heads"] <= config.max_heads
        and 1 <= f["n_queries"] <= f["n_slots"]
        and 1 <= f["n_keys"] <= f["n_slots"] <= config.max_sequence
    )


def _pruning_legal(f: dict[str, int]) -> bool:
    return (
        1 <= f["keep_tokens"] <= f["n_keys"]
        and 1 <= f["keep_heads"] <= f["n_heads"]
        and f["keep_values"] >= 1
        and f["decay"] <= 1 << 16
    )


def _widths_legal(f: dict[str, int], config: AcceleratorConfig) -> bool:
    def plane_pair(msb: int, lsb: int, policy: int) -> bool:
        known = msb in MSB_WIDTHS and lsb in (0, LSB_WIDTH) and policy <= _LAST_POLICY
        return known and msb + lsb <= config.operand_bits and (lsb > 0 or policy == 0)

    refetch_possible = f["v_policy"] != ValuePolicy.ON_REFETCH or f["k_policy"] == KeyPolicy.PROGRESSIVE
    return (
        f["q_bits"] in MSB_WIDTHS
        and plane_pair(f["k_msb_bits"], f["k_lsb_bits"], f["k_policy"])
        and plane_pair(f["v_msb_bits"], f["v_lsb_bits"], f["v_policy"])
        and refetch_possible
    )


def _lists_legal(job: LayerJob) -> bool:
    def ascending(values: NDArray[np.integer], end: int) -> bool:
        return bool((values[1:] > values[:-1]).all()) and bool(values[-1] < end)

    return (
        ascending(job.heads["head_id"], job["total_heads"])
        and all(map(_entry_legal, job.heads.tolist()))
        and ascending(job.key_slots, job["n_slots"])
        and ascending(job.queries, job["n_slots"])
        and int(np.count_nonzero(job.protected)) <= job["keep_tokens"]
    )


def _entry_legal(entry: tuple[int, ...]) -> bool:
    """Of the head table."""
    _, score_shift, _, _, importance_shift, reserved = entry
    return 1 <= score_shift <= 48 and importance_shift <= 47 and reserved == 0


def regions(f: dict[str, int], beat: int) -> Iterator[tuple[int, int, int]]:
    """Every region the job uses as (address, stride, bytes)."""
    rows = f["n_heads"] * f["n_queries"]
    yield f["q_address"], 0, rows * row_bytes(f["head_dim"], f["q_bits"], beat)
    for plane in ("k_msb", "k_lsb", "v_msb", "v_lsb"):
        width = f[f"{plane}_bits"]
        if width:
            stride = f[f"{plane}_stride"]
            span = (f["total_heads"] - 1) * stride + f["n_slots"] * row_bytes(f["head_dim"], width, beat)
            yield f[f"{plane}_address"], stride, span
    yield f["output_address"], 0, rows * padded(2 * f["head_dim"], beat)
    yield f["token_importance_address"], 0, padded(4 * f["n_slots"], beat)
    yield f["head_importance_address"], 0, padded(8 * f["total_heads"], beat)
    yield f["answer_address"], 0, answer_bytes(f["keep_tokens"], f["keep_heads"], beat)
