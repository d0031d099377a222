# SPDX-License-Identifier: BSD-2-Clause
"""What a device checks before it runs a job, in the order of ``docs/contract.md``, section 9."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..answer import Status, answer_bytes
from ..config import ABI_MAJOR, AcceleratorConfig
from ..fields import reserved_bits
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
    descriptor_bytes,
)
from ..planes import LSB_WIDTH, MSB_WIDTHS, padded, row_bytes

_WORDS_OF_0 = [word for word in JOB_WORDS if word.name not in WORDS_SINCE_1]
#: By the minor version of the device.
_RESERVED = [reserved_bits(words, HEADER_WORDS) for words in (_WORDS_OF_0, JOB_WORDS)]
_LAST_KEY_POLICY = (KeyPolicy.PROGRESSIVE, KeyPolicy.BY_KEY)
_LAST_VALUE_POLICY = max(ValuePolicy)
_REFETCH_SHIFTS = range(1, 17)


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
    if fields["abi_major"] != ABI_MAJOR or fields["abi_minor"] > config.abi_minor:
        raise JobRejected(Status.BAD_VERSION)
    if not _inside(memory, fields["answer_address"], HEADER_BYTES, beat):
        raise JobRejected(Status.BAD_ADDRESS)
    _require(
        fields["config_digest_lo"] | fields["config_digest_hi"] << 32 == config.digest,
        Status.BAD_DIGEST,
        fields,
    )
    reserved_zero = fields["kind"] == 0 and not (raw.view("<u4") & _RESERVED[config.abi_minor]).any()
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
    def plane_pair(msb: int, lsb: int, policy: int, last: int) -> bool:
        known = msb in MSB_WIDTHS and lsb in (0, LSB_WIDTH) and policy <= last
        return known and msb + lsb <= config.operand_bits and (lsb > 0 or policy == 0)

    refetch_possible = f["v_policy"] != ValuePolicy.ON_REFETCH or f["k_policy"] == KeyPolicy.PROGRESSIVE
    last_of_k = _LAST_KEY_POLICY[config.abi_minor]
    return (
        f["q_bits"] in MSB_WIDTHS
        and plane_pair(f["k_msb_bits"], f["k_lsb_bits"], f["k_policy"], last_of_k)
        and plane_pair(f["v_msb_bits"], f["v_lsb_bits"], f["v_policy"], _LAST_VALUE_POLICY)
        and refetch_possible
        and _by_key_legal(f)
    )


def _by_key_legal(f: dict[str, int]) -> bool:
    """Refetch by key is for a step of generation; its share is set there and nowhere else."""
    if f["k_policy"] != KeyPolicy.BY_KEY:
        return f["refetch_shift"] == 0
    return f["n_queries"] == 1 and f["refetch_shift"] in _REFETCH_SHIFTS


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
