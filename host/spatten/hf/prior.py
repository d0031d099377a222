# SPDX-License-Identifier: BSD-2-Clause
"""What is known of tokens before any layer has looked at them: how long their values are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spatten_drivers.quantize import IMPORTANCE_FRACTION_BITS

_MOST = (1 << 32) - 1


def prior_importance(values: NDArray[np.float32], prior: float) -> NDArray[np.uint32]:
    """Importance that tokens start with, in units of 2^-12.

    A token that little is read from, whoever looks at it, has short values: articles and punctuation have,
    and attention likes to rest on them, so what it adds up to ranks them too high. A layer gives a token, on
    average, as much as there are heads; this start is ``prior`` times that.

    Parameters
    ----------
    values : ``[heads, tokens, D]`` of layer 0.
    prior : 0 or more; 1 is as much as a layer gives.

    Returns
    -------
    words : ``uint32 [tokens]``.
    """
    lengths = np.sqrt(np.square(values.astype(np.float64)).sum(axis=(0, 2)))
    mean = lengths.mean()
    if not mean > 0.0:
        return np.zeros(len(lengths), np.uint32)
    share = prior * len(values) * lengths / mean
    return np.minimum(np.rint(share * (1 << IMPORTANCE_FRACTION_BITS)), _MOST).astype(np.uint32)
