# SPDX-License-Identifier: BSD-2-Clause
"""Attention in float64, from its definition, and the small layers that the tests run."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spatten_drivers import Device, LayerRequest, Quantization, Sequence, Shape

Floats = NDArray[np.float64]


class Layer(NamedTuple):
    """A written sequence and the floats it was written from, each ``[heads, tokens, D]``."""

    sequence: Sequence
    q: NDArray[np.float32]
    k: NDArray[np.float32]
    v: NDArray[np.float32]

    def request(self, **changes: Any) -> LayerRequest:
        """All queries on all keys, unless changed."""
        heads, tokens, dim = self.q.shape
        everything = {
            "layer": 0,
            "heads": np.arange(heads),
            "queries": self.q,
            "query_slots": np.arange(tokens),
            "key_slots": np.arange(tokens),
            "n_slots": tokens,
            "scaling": dim**-0.5,
        }
        return LayerRequest(**{**everything, **changes})


def layer(
    device: Device,
    quantization: Quantization,
    heads: int = 3,
    tokens: int = 24,
    seed: int = 0,
    sharpness: float = 2.0,
) -> Layer:
    """Normally distributed Q, K and V; a greater ``sharpness`` makes the softmax more certain."""
    dim = device.config.head_dims[0]
    generator = np.random.default_rng(seed)
    q, k, v = generator.standard_normal((3, heads, tokens, dim)).astype(np.float32)
    sequence = Sequence(device, Shape(layers=1, heads=heads, head_dim=dim, slots=tokens), quantization)
    sequence.write(0, np.arange(heads), np.arange(tokens), k, v)
    return Layer(sequence, q * np.float32(sharpness), k, v)


def probabilities(q: NDArray[Any], k: NDArray[Any], scaling: float, causal: bool = False) -> Floats:
    """Softmax of ``q [h, q, D]`` on ``k [h, n, D]``, both from slot 0 on."""
    scores = np.einsum("hqd,hnd->hqn", q.astype(np.float64), k.astype(np.float64)) * scaling
    if causal:
        hidden = np.arange(k.shape[1]) > np.arange(q.shape[1])[:, None]
        scores = np.where(hidden, -np.inf, scores)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
