# SPDX-License-Identifier: BSD-2-Clause
"""Exactly ``k`` survivors, original order kept, ties to the lower index (``docs/contract.md``, section 7)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def top_k(
    scores: NDArray[np.integer], k: int, protected: NDArray[np.bool_] | None = None
) -> NDArray[np.intp]:
    """Ascending indices of the ``k`` preferred of ``scores [n]``: protected first, then the greater."""
    if k >= len(scores):
        return np.arange(len(scores))
    shielded = np.zeros(len(scores), bool) if protected is None else protected
    # lexsort is stable and its last key is the primary one: ties fall to the lower index.
    order = np.lexsort((-scores.astype(np.int64), ~shielded))
    return np.sort(order[:k])
