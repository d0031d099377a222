# SPDX-License-Identifier: BSD-2-Clause
"""The twelve checks of a job, in their order (contract, section 9)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from .oracle_config import ABI_MAJOR, OracleConfig
from .oracle_format import HEADER_BYTES, JOB_FIELDS, JOB_MAGIC, SINCE_1_1, Status, named_bits
from .oracle_memory import PROTECTED_BIT, SLOT_MASK, Descriptor

MSB_WIDTHS = (4, 6, 8, 10, 12)
LSB_WIDTHS = (0, 4)


class Refused(Exception):
    """A check failed. `answered` says whether the device writes an answer header (checks 1 to 3 passed)."""

    def __init__(self, status: Status, answered: bool) -> None:
        super().__init__(f"job refused with {status.name}")
        self.status, self.answered = status, answered


def check(memory: bytearray, address: int, config: OracleConfig) -> Descriptor:
    """The descriptor at `address`, or Refused with the status of the first check that fails."""
    beat = config.beat_bytes
    if address % beat or address + HEADER_BYTES > len(memory):
        raise Refused(Status.BAD_ADDRESS, answered=False)
    job = Descriptor(memory, address, beat)
    for good, status in _before_answer(job, config):
        if not good:
            raise Refused(status, answered=False)
    for good, status in _after_answer(job, config):
        if not good:
            raise Refused(status, answered=True)
    return job


def _before_answer(job: Descriptor, config: OracleConfig) -> Iterator[tuple[bool, Status]]:
    """Checks 2 and 3: is this a descriptor, and is there a place for its answer?"""
    yield job["magic"] == JOB_MAGIC, Status.BAD_MAGIC
    yield job["abi_major"] == ABI_MAJOR and job["abi_minor"] <= config.abi_minor, Status.BAD_VERSION
    yield _lies_inside(job, job["answer_address"], HEADER_BYTES), Status.BAD_ADDRESS


def _after_answer(job: Descriptor, config: OracleConfig) -> Iterator[tuple[bool, Status]]:
    """Checks 4 to 12, lazily: a later check may rely on the earlier ones."""
    yield job["config_digest_hi"] << 32 | job["config_digest_lo"] == config.digest, Status.BAD_DIGEST
    yield job["kind"] == 0 and _reserved_bits_are_zero(job, config), Status.BAD_FIELD
    yield _shape_is_legal(job, config), Status.BAD_FIELD
    yield _keeps_are_legal(job), Status.BAD_FIELD
    yield _widths_are_legal(job, config), Status.BAD_FIELD
    yield job["descriptor_bytes"] == job.end - job.address, Status.BAD_FIELD
    yield job.end <= len(job.memory), Status.BAD_ADDRESS
    yield _lists_are_legal(job), Status.BAD_LIST
    yield all(_lies_inside(job, start, length) for start, length in _regions(job)), Status.BAD_ADDRESS
    yield all(job[f"{plane}_stride"] % job.beat_bytes == 0 for plane in _planes(job)), Status.BAD_ADDRESS
    yield not job["causal"] or job.key_words()[0] & SLOT_MASK <= job.query_slots()[0], Status.EMPTY_ROW


def _lies_inside(job: Descriptor, start: int, length: int) -> bool:
    return start % job.beat_bytes == 0 and start + length <= len(job.memory)


def _reserved_bits_are_zero(job: Descriptor, config: OracleConfig) -> bool:
    known = {name: place for name, place in JOB_FIELDS.items() if config.abi_minor or name not in SINCE_1_1}
    return all(word & ~mask == 0 for word, mask in zip(job.words, named_bits(known), strict=True))


def _shape_is_legal(job: Descriptor, config: OracleConfig) -> bool:
    return (
        job["head_dim"] in config.head_dims
        and 1 <= job["n_heads"] <= job["total_heads"] <= config.max_heads
        and 1 <= job["n_queries"] <= job["n_slots"]
        and 1 <= job["n_keys"] <= job["n_slots"] <= config.max_sequence
    )


def _keeps_are_legal(job: Descriptor) -> bool:
    return (
        1 <= job["keep_tokens"] <= job["n_keys"]
        and 1 <= job["keep_heads"] <= job["n_heads"]
        and job["keep_values"] >= 1
        and job["decay"] <= 65536
    )


def _widths_are_legal(job: Descriptor, config: OracleConfig) -> bool:
    return (
        job["q_bits"] in MSB_WIDTHS
        and all(_operand_is_legal(job, operand, config) for operand in "kv")
        and (job["v_policy"] != 2 or job["k_policy"] == 2)
        and (_by_key_is_legal(job, config) if job["k_policy"] == 3 else job["refetch_shift"] == 0)
    )


def _by_key_is_legal(job: Descriptor, config: OracleConfig) -> bool:
    return config.abi_minor >= 1 and job["n_queries"] == 1 and 1 <= job["refetch_shift"] <= 16


def _operand_is_legal(job: Descriptor, operand: str, config: OracleConfig) -> bool:
    msb, lsb, policy = (job[f"{operand}_{name}"] for name in ("msb_bits", "lsb_bits", "policy"))
    policies = {"k": (0, 1, 2, 3), "v": (0, 1, 2)}[operand] if lsb else (0,)
    return msb in MSB_WIDTHS and lsb in LSB_WIDTHS and msb + lsb <= config.operand_bits and policy in policies


def _lists_are_legal(job: Descriptor) -> bool:
    heads, keys, queries = job.heads(), job.key_words(), job.query_slots()
    protected = sum(1 for key in keys if key & PROTECTED_BIT)
    return (
        _ascending_below([head.head_id for head in heads], job["total_heads"])
        and all(1 <= head.score_shift <= 48 for head in heads)
        and all(head.importance_shift <= 47 and head.reserved == 0 for head in heads)
        and _ascending_below([key & SLOT_MASK for key in keys], job["n_slots"])
        and _ascending_below(queries, job["n_slots"])
        and protected <= job["keep_tokens"]
    )


def _ascending_below(numbers: list[int], limit: int) -> bool:
    return all(a < b for a, b in pairwise(numbers)) and numbers[-1] < limit


def _planes(job: Descriptor) -> list[str]:
    """The plane regions the job uses; an LSB plane is used if its width is not 0."""
    return [plane for plane in ("k_msb", "k_lsb", "v_msb", "v_lsb") if job[f"{plane}_bits"]]


def _regions(job: Descriptor) -> Iterator[tuple[int, int]]:
    """(address, bytes) of every region that is read or written."""
    rows = job["n_heads"] * job["n_queries"]
    yield job["q_address"], rows * job.row(job["q_bits"])
    for plane in _planes(job):
        last_head = (job["total_heads"] - 1) * job[f"{plane}_stride"]
        yield job[f"{plane}_address"], last_head + job["n_slots"] * job.row(job[f"{plane}_bits"])
    yield job["output_address"], rows * job.pad(2 * job["head_dim"])
    yield job["token_importance_address"], job.pad(4 * job["n_slots"])
    yield job["head_importance_address"], job.pad(8 * job["total_heads"])
    yield job["answer_address"], job.written_control
