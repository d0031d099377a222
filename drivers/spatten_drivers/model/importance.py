# SPDX-License-Identifier: BSD-2-Clause
"""Running importance of tokens and heads (``docs/contract.md``, section 6), and who survives (section 7)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..job import LayerJob
from ..planes import padded
from ..topk import top_k
from .division import Block

TOKEN_MAX = (1 << 32) - 1
HEAD_MAX = (1 << 48) - 1
#: From a sum of shares, in units of 2^-36, to importance.
GAIN_SHIFT = 24


def update_tokens(memory: NDArray[np.uint8], job: LayerJob, gain: Block, beat: int) -> NDArray[np.uint16]:
    """Add ``gain [n]`` to the running token importance; answers the surviving entries of the key list."""
    start, slots = job["token_importance_address"], job.key_slots
    words = memory[start : start + padded(4 * job["n_slots"], beat)].view("<u4")
    words[job["n_slots"] if job["add_tokens"] else 0 :] = 0
    old = words[slots].astype(np.int64) * job["decay"] >> 16
    rounded = (gain.astype(np.int64) + (1 << GAIN_SHIFT - 1)) >> GAIN_SHIFT
    words[slots] = fresh = np.minimum(old + rounded, TOKEN_MAX)
    return job.keys[top_k(fresh, job["keep_tokens"], job.protected)]


def update_heads(
    memory: NDArray[np.uint8], job: LayerJob, gain: NDArray[np.int64], beat: int
) -> NDArray[np.uint16]:
    """Add ``gain [h]`` to the running head importance; answers the surviving head ids.

    Plain numbers: sixteen heads at most.
    """
    start, count = job["head_importance_address"], job["total_heads"]
    stored = memory[start : start + padded(8 * count, beat)].view("<u8")
    words = stored[:count].tolist() if job["add_heads"] else [0] * count
    ids = job.heads["head_id"]
    factors = zip(job.heads["importance_mult"].tolist(), job.heads["importance_shift"].tolist(), strict=True)
    for head, own, (mult, shift) in zip(ids.tolist(), gain.tolist(), factors, strict=True):
        words[head] = min(words[head] + (own * mult + (1 << shift >> 1) >> shift), HEAD_MAX)
    stored[:count], stored[count:] = words, 0
    return ids[top_k(np.array(words, np.uint64)[ids].astype(np.int64), job["keep_heads"])].astype(np.uint16)
