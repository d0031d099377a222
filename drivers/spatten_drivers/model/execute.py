# SPDX-License-Identifier: BSD-2-Clause
"""Runs one binary layer job on an image of device memory, exactly as ``docs/contract.md`` says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..answer import BYTE_COUNTERS, Status, answer_bytes, encode_header, reuses_rows
from ..config import AcceleratorConfig
from ..job import HEADER_BYTES, JOB_WORDS, LayerJob, decode_header
from ..planes import padded
from .attention import Attended, attend
from .checks import HEADER, RESERVED, Header, JobRejected, checked_job, lies_inside, limits_of
from .importance import update_heads, update_tokens
from .kernels import Kernel
from .kernels import kernel as kernel_by_name
from .operands import Operands
from .traffic import byte_counts, lsb_rows

#: Where a header holds the number of its queries: the lower half of this word.
_COUNTS = next(word.index for word in JOB_WORDS if word.name == "counts")


class Model:
    """The software model of one configuration, on any image of device memory.

    Parameters
    ----------
    kernel : ``"numpy"``, ``"numba"`` or ``"auto"``; all give the same bits.
    """

    def __init__(self, config: AcceleratorConfig, kernel: str = "auto") -> None:
        self._config, self._loops = config, kernel_by_name(kernel)
        self._limits, self._reserved = limits_of(config), RESERVED[config.abi_minor]

    def execute(self, memory: NDArray[np.uint8], address: int) -> Status:
        """Run the job whose descriptor lies at ``address`` and write its answer into ``memory``.

        Parameters
        ----------
        memory : the whole device memory, ``uint8``, changed in place.

        Returns
        -------
        Status : ``DONE``, or why the job was refused; then nothing but an answer header is written.
        """
        try:
            if self._loops.step is not None and self._is_step(memory, address):
                self._step(memory, address, self._loops.step)
            else:
                _run(memory, checked_job(memory, address, self._config), self._config, self._loops)
        except JobRejected as refusal:
            if refusal.fields is not None:
                _write_header(memory, refusal.fields, self._config, {"status": refusal.status}, {})
            return refusal.status
        return Status.DONE

    def _is_step(self, memory: NDArray[np.uint8], address: int) -> bool:
        """Whether the header can be read and tells of one query."""
        if not lies_inside(address, HEADER_BYTES, self._limits.beat_bytes, memory.size):
            return False
        return bool(memory[address + 4 * _COUNTS] == 1 and memory[address + 4 * _COUNTS + 1] == 0)

    def _step(self, memory: NDArray[np.uint8], address: int, step: Callable[..., tuple[int, bool]]) -> None:
        status, trusted = step(memory, address, self._limits, self._reserved, np.empty(1, HEADER))
        if status != Status.DONE:
            raw = memory[address : address + HEADER_BYTES]
            raise JobRejected(Status(status), decode_header(raw) if trusted else None)


def execute_job(
    memory: NDArray[np.uint8], descriptor_address: int, config: AcceleratorConfig, kernel: str = "auto"
) -> Status:
    """One job on a model of its own, see :meth:`Model.execute`."""
    return Model(config, kernel).execute(memory, descriptor_address)


def _run(memory: NDArray[np.uint8], job: LayerJob, config: AcceleratorConfig, loops: Kernel) -> None:
    """Run a checked job of any number of queries."""
    visible = _visible(job)
    done = attend(job, Operands(memory, job, config.beat_bytes, loops), visible, loops)
    _write_outputs(memory, job, done, config.beat_bytes)
    tokens = update_tokens(memory, job, done.token_gain, config.beat_bytes)
    heads = update_heads(memory, job, done.head_gain, config.beat_bytes)
    _write_survivors(memory, job, tokens, heads, config.beat_bytes)
    counts, counters = _counters(job, done, visible, config)
    _write_header(memory, job.fields, config, {"status": Status.DONE, **counts}, counters)


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
    fetched = _rows_fetched(job, done, visible, reuses_rows(job, config.kv_buffer_rows))
    sizes = byte_counts(Header(**job.fields), config.beat_bytes, *fetched)
    k_msb, _, v_msb, _ = fetched
    counts = {
        "n_tokens": job["keep_tokens"],
        "n_heads": job["keep_heads"],
        "refetched_rows": int(done.refetched.sum()),
        "keys_fetched": k_msb,
        "values_fetched": v_msb,
    }
    return counts, dict(zip((counter.name for counter in BYTE_COUNTERS), sizes, strict=True))


def _rows_fetched(
    job: LayerJob, done: Attended, visible: NDArray[np.int64], reuse: bool
) -> tuple[int, int, int, int]:
    """Rows fetched of K's MSB and LSB planes and of V's, in reuse or in stream mode."""
    refetched = done.refetched
    if reuse:
        refetched = np.logical_or.reduce(refetched, axis=1)[:, None]
        keys = values = np.full(refetched.shape, job["n_keys"])
        redone = np.where(refetched, keys, 0)
    else:
        keys, values, redone = np.broadcast_to(visible, refetched.shape), done.values, done.redone_keys
    k_msb, v_msb = int(keys.sum()), int(values.sum())
    return (
        k_msb,
        lsb_rows(job["k_policy"], k_msb, int(redone.sum())),
        v_msb,
        lsb_rows(job["v_policy"], v_msb, int(np.where(refetched, values, 0).sum())),
    )


def _store(memory: NDArray[np.uint8], address: int, data: NDArray[np.generic]) -> None:
    raw = np.ascontiguousarray(data).view(np.uint8).reshape(-1)
    memory[address : address + raw.size] = raw
