# SPDX-License-Identifier: BSD-2-Clause
"""Several sequences decode in turns: results stay as they were, whoever gets their job's memory next."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import pytest

from spatten_drivers import Accelerator, Emulator, LayerRequest, LayerResult, Quantization, Sequence, Shape
from spatten_drivers.accelerator import Ticket

LAYERS, HEADS, DIM, SLOTS, PROMPT = 2, 4, 32, 64, 12
FORMATS = (Quantization.static(8), Quantization.progressive(6, 4), Quantization.by_key())


@dataclass
class Decoder:
    """A sequence, and which of its tokens and heads are alive in each layer."""

    sequence: Sequence
    keys: list[np.ndarray]
    heads: list[np.ndarray]
    length: int = 0


def decoders(device: Emulator) -> list[Decoder]:
    shape, nothing = Shape(LAYERS, HEADS, DIM, SLOTS), np.arange(0)
    return [
        Decoder(Sequence(device, shape, rules), [nothing] * LAYERS, [np.arange(HEADS)] * LAYERS)
        for rules in FORMATS
    ]


def submitted(driver: Accelerator, one: Decoder, layer: int, draws: np.random.Generator) -> Ticket:
    """The job of a layer for the tokens that are new, with rows that grow louder now and then."""
    heads, new = one.heads[layer], np.arange(one.length, one.length + (1 if one.length else PROMPT))
    loud = 1.5 ** draws.integers(0, 4)
    q, k, v = loud * draws.standard_normal((3, len(heads), len(new), DIM)).astype(np.float32)
    one.sequence.write(layer, heads, new, k, v)
    keys = np.concatenate([one.keys[layer], new])
    last = int(new[-1])
    request = LayerRequest(
        layer=layer,
        heads=heads,
        queries=q,
        query_slots=new,
        key_slots=keys,
        n_slots=last + 1,
        scaling=DIM**-0.5,
        causal=True,
        keep_tokens=max(4, len(keys) - int(draws.integers(0, 3))),
        keep_heads=max(2, len(heads) - int(draws.integers(0, 2))),
        keep_values=int(draws.integers(1, len(keys) + 1)),
        protected=frozenset([0, last]),
        decay=float(draws.choice([1.0, 0.5])),
    )
    return driver.submit(one.sequence, request)


def taken(driver: Accelerator, one: Decoder, layer: int, ticket: Ticket) -> LayerResult:
    result = driver.wait(ticket)
    one.keys[layer], one.heads[layer] = result.tokens, result.heads
    return result


def results(kernel: str, seed: int) -> Iterator[LayerResult]:
    """Of a loop in which two sequences are always under way, and one of them may end first."""
    device, draws = Emulator(memory_bytes=1 << 20, kernel=kernel), np.random.default_rng(seed)
    driver, all_of_them = Accelerator(device), decoders(device)
    for _ in range(25):
        pair = draws.permutation(len(FORMATS))[:2]
        for layer in range(LAYERS):
            jobs = [(all_of_them[i], submitted(driver, all_of_them[i], layer, draws)) for i in pair]
            for one, ticket in draws.permutation(np.array(jobs, object)):
                yield taken(driver, one, layer, ticket)
        for i in pair:
            all_of_them[i].length += 1 if all_of_them[i].length else PROMPT


@pytest.mark.parametrize("seed", range(3))
def test_results_kept_to_the_end(seed: int) -> None:
    expected = [deepcopy(result) for result in results("numpy", seed)]  # before anything could change them
    kept = list(results("numba", seed))
    assert len(kept) == len(expected) == 25 * LAYERS * 2
    for result, wanted in zip(kept, expected, strict=True):
        assert result.answer.differences(wanted.answer) == []
        for name in ("output", "tokens", "heads"):
            np.testing.assert_array_equal(getattr(result, name), getattr(wanted, name))
        for table in ("heads", "keys", "queries"):
            np.testing.assert_array_equal(getattr(result.job, table), getattr(wanted.job, table))
    assert len({len(result.tokens) for result in kept}) > 5
    assert {len(result.heads) for result in kept} == {2, 3, 4}
