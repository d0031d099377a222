# SPDX-License-Identifier: BSD-2-Clause
"""Runs one binary layer job on an image of device memory, exactly as ``docs/contract.md`` says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..answer import Status, answer_bytes, encode_header, reuses_rows
from ..config import AcceleratorConfig
from ..job import HEADER_BYTES, KeyPolicy, LayerJob
from ..planes import padded, row_bytes
from ..topk import top_k
from .attention import Attended, attend
from .checks import JobRejected, checked_job
from .kernels import kernel as kernel_by_name
from .operands import Operands

_TOKEN_MAX = (1 << 32) - 1
_HEAD_MAX = (1 << 48) - 1
_GAIN_SHIFT = 24


def execute_job(
    memory: NDArray[np.uint8], descriptor_address: int, config: AcceleratorConfig, kernel: str = "auto"
) -> Status:
    """Run the job whose descriptor lies at ``descriptor_address`` and write its answer into ``memory``.

    Parameters
    ----------
    memory : the whole device memory, ``uint8``, changed in place.
    kernel : ``"numpy"``, ``"numba"`` or ``"auto"``; all give the same bits.

    Returns
    -------
    Status : ``DONE``, or why the job was refused; then nothing but an answer header is written.
    """
    try:
        job = checked_job(memory, descriptor_address, config)
    except JobRejected as refusal:
        if refusal.fields is not None:
            _write_header(memory, refusal.fields, config, {"status": refusal.status}, {})
        return refusal.status
    visible = _visible(job)
    loops = kernel_by_name(kernel)
    done = attend(job, Operands(memory, job, config.beat_bytes, loops), visible, loops)
    _write_outputs(memory, job, done, config.beat_bytes)
    tokens = _update_tokens(memory, job, done, config.beat_bytes)
    heads = _update_heads(memory, job, done, config.beat_bytes)
    _write_survivors(memory, job, tokens, heads, config.beat_bytes)
    counts, counters = _counters(job, done, visible, config)
    _write_header(memory, job.fields, config, {"status": Status.DONE, **counts}, counters)
    return Status.DONE


def _visible(job: LayerJob) -> NDArray[np.int64]:
    """Keys each query sees: a prefix of the ascending key list."""
    if not job["causal"]:
        return np.full(job["n_queries"], job["n_keys"])
    return np.searchsorted(job.key_slots, job.queries, side="right")


def _write_outputs(memory: NDArray[np.uint8], job: LayerJob, done: Attended, beat: int) -> None:
    size, start = 2 * job["head_dim"], job["output_address"]
    heads, queries, _ = done.output.shape
    row = padded(size, beat)
    rows = memory[start : start + heads * queries * row].reshape(heads, queries, row)
    rows[..., :size] = done.output.view(np.uint8)
    rows[..., size:] = 0


def _update_tokens(memory: NDArray[np.uint8], job: LayerJob, done: Attended, beat: int) -> NDArray[np.uint16]:
    """Running token importance (section 6); answers the surviving entries of the key list (section 7)."""
    start, slots = job["token_importance_address"], job.key_slots
    words = memory[start : start + padded(4 * job["n_slots"], beat)].view("<u4")
    words[job["n_slots"] if job["add_tokens"] else 0 :] = 0
    old = words[slots].astype(np.int64) * job["decay"] >> 16
    gain = (done.token_gain.astype(np.int64) + (1 << _GAIN_SHIFT - 1)) >> _GAIN_SHIFT
    words[slots] = fresh = np.minimum(old + gain, _TOKEN_MAX)
    return job.keys[top_k(fresh, job["keep_tokens"], job.protected)]


def _update_heads(memory: NDArray[np.uint8], job: LayerJob, done: Attended, beat: int) -> NDArray[np.uint16]:
    """Running head importance; answers the surviving head ids. Plain numbers: sixteen heads at most."""
    start, count = job["head_importance_address"], job["total_heads"]
    stored = memory[start : start + padded(8 * count, beat)].view("<u8")
    words = stored[:count].tolist() if job["add_heads"] else [0] * count
    ids = job.heads["head_id"]
    factors = zip(job.heads["importance_mult"].tolist(), job.heads["importance_shift"].tolist(), strict=True)
    for head, gain, (mult, shift) in zip(ids.tolist(), done.head_gain.tolist(), factors, strict=True):
        words[head] = min(words[head] + (gain * mult + (1 << shift >> 1) >> shift), _HEAD_MAX)
    stored[:count], stored[count:] = words, 0
    return ids[top_k(np.array(words, np.uint64)[ids].astype(np.int64), job["keep_heads"])].astype(np.uint16)


def _write_survivors(
    memory: NDArray[np.uint8], job: LayerJob, tokens: NDArray[np.uint16], heads: NDArray[np.uint16], beat: int
) -> None:
    block = np.zeros(answer_bytes(len(tokens), len(heads), beat) - HEADER_BYTES, np.uint8)
    block[: tokens.nbytes] = tokens.astype("<u2").view(np.uint8)
    second = padded(tokens.nbytes, beat)
    block[second : second + heads.nbytes] = heads.astype("<u2").view(np.uint8)
    _store(memory, job["answer_address"] + HEADER_BYTES, block)


def _write_header(
    memory: NDArray[np.uint8],
    fields: dict[str, int],
    config: AcceleratorConfig,
    values: dict[str, int],
    counters: dict[str, int],
) -> None:
    identity = {
        "abi_minor": config.abi_minor,
        "config_digest_lo": config.digest & 0xFFFFFFFF,
        "config_digest_hi": config.digest >> 32,
    }
    header = encode_header({"job_id": fields["job_id"], **identity, **values}, counters)
    _store(memory, fields["answer_address"], header)


def _counters(
    job: LayerJob, done: Attended, visible: NDArray[np.int64], config: AcceleratorConfig
) -> tuple[dict[str, int], dict[str, int]]:
    """Counts and bytes of section 8."""
    beat, dim = config.beat_bytes, job["head_dim"]
    fetched = _rows_fetched(job, done, visible, reuses_rows(job, config.kv_buffer_rows))
    row = {name: row_bytes(dim, job[f"{name}_bits"], beat) for name in fetched}
    queries = job["n_heads"] * job["n_queries"]
    written_importance = padded(4 * job["n_slots"], beat) + padded(8 * job["total_heads"], beat)
    counters = {f"read_{name}": count * row[name] for name, count in fetched.items()}
    counters |= {
        "read_q": queries * row_bytes(dim, job["q_bits"], beat),
        "read_importance": padded(4 * job["n_slots"], beat) * job["add_tokens"]
        + padded(8 * job["total_heads"], beat) * job["add_heads"],
        "read_control": job["descriptor_bytes"],
        "written_output": queries * padded(2 * dim, beat),
        "written_importance": written_importance,
        "written_control": answer_bytes(job["keep_tokens"], job["keep_heads"], beat),
    }
    counts = {
        "n_tokens": job["keep_tokens"],
        "n_heads": job["keep_heads"],
        "refetched_rows": int(done.refetched.sum()),
        "keys_fetched": fetched["k_msb"],
        "values_fetched": fetched["v_msb"],
    }
    return counts, counters


def _rows_fetched(job: LayerJob, done: Attended, visible: NDArray[np.int64], reuse: bool) -> dict[str, int]:
    """Rows fetched of each plane, in reuse or in stream mode."""
    refetched = done.refetched
    if reuse:
        refetched = np.logical_or.reduce(refetched, axis=1)[:, None]
        keys = values = np.full(refetched.shape, job["n_keys"])
        redone = np.where(refetched, keys, 0)
    else:
        keys, values, redone = np.broadcast_to(visible, refetched.shape), done.values, done.redone_keys
    return {
        "k_msb": int(keys.sum()),
        "k_lsb": _lsb_rows(job["k_policy"], keys, redone),
        "v_msb": int(values.sum()),
        "v_lsb": _lsb_rows(job["v_policy"], values, np.where(refetched, values, 0)),
    }


def _lsb_rows(policy: int, msb_rows: NDArray[np.int64], on_refetch: NDArray[np.int64]) -> int:
    """Rows fetched of an LSB plane; K and V number their policies alike."""
    rows = {KeyPolicy.MSB_ONLY: 0 * msb_rows, KeyPolicy.ALWAYS: msb_rows}
    return int(rows.get(KeyPolicy(policy), on_refetch).sum())


def _store(memory: NDArray[np.uint8], address: int, data: NDArray[np.generic]) -> None:
    raw = np.ascontiguousarray(data).view(np.uint8).reshape(-1)
    memory[address : address + raw.size] = raw
