# SPDX-License-Identifier: BSD-2-Clause
"""Both kernels of the model give the same bits: loop by loop, and job by job."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatten_drivers import Accelerator, Emulator, KeyPolicy, LayerResult, Quantization, ValuePolicy
from spatten_drivers.errors import ConfigError
from spatten_drivers.model import available_kernels, loops
from spatten_drivers.model.compiled import compiled
from spatten_drivers.model.kernels import NUMPY, Coding, Kernel, Region, kernel
from spatten_drivers.model.lanes import unpack_eight
from spatten_drivers.planes import MSB_WIDTHS, pack_rows, row_bytes

from ..floats import layer

seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 40))


@pytest.fixture(scope="module")
def numba() -> Kernel:
    assert available_kernels() == ("numpy", "numba"), "the tests need numba"
    return kernel("numba")


def some_visible(generator: np.random.Generator, queries: int, keys: int) -> np.ndarray:
    """Ascending, at least one key, the last row often all."""
    return np.sort(generator.integers(1, keys + 1, queries))


#: Those that jobs use.
CODINGS = (
    *(Coding(width, signed=True) for width in MSB_WIDTHS),
    *(Coding(width, True, 4, offset) for width, offset in ((6, 0), (8, 8), (12, 8))),
    *(Coding(4, False, 0, offset) for offset in (0, -8)),
)


@given(seed=seeds, coding=st.sampled_from(CODINGS), dim=st.sampled_from((32, 64)))
def test_unpack(numba: Kernel, seed: int, coding: Coding, dim: int) -> None:
    """Heads and slots of a plane, consecutive or not, against its integers."""
    generator = np.random.default_rng(seed)
    low = -(1 << coding.width - 1) if coding.signed else 0
    bits = generator.integers(low, low + (1 << coding.width), (5, 30, dim))
    rows = pack_rows(bits, coding.width, row_bytes(dim, coding.width, 16))
    region = Region(48, *rows.strides[:2])  # behind bytes of something else
    memory = np.concatenate([np.full(48, 0xA5, np.uint8), rows.reshape(-1)])
    expected = bits * 2**coding.shift + coding.offset
    heads = np.sort(generator.choice(5, generator.integers(1, 6), replace=False))
    count = generator.integers(1, 31)
    for slots in (np.sort(generator.choice(30, count, replace=False)), np.arange(30)[-count:]):
        for one in (NUMPY, numba):
            block = one.unpack(memory, region, heads, slots, dim, coding)
            np.testing.assert_array_equal(block, expected[heads][:, slots], err_msg=one.name)


@pytest.mark.parametrize("dtype", [np.int16, np.float64])
@pytest.mark.parametrize("width", MSB_WIDTHS)
def test_unpack_eight(numba: Kernel, width: int, dtype: type) -> None:
    """What is compiled for eight elements is what the plain function says, beyond 16 bits too."""
    loop = getattr(compiled(loops.FUNCTIONS), f"unpack_{width}")
    generator = np.random.default_rng(width)
    memory = generator.integers(0, 256, 5 + 2 * width, np.uint8)
    for numbers in generator.integers(-(1 << 15), 1 << 15, (50, 3), np.int16):
        found, expected = np.zeros((2, 1, 16), dtype)
        loop(memory, 5, 2 * width, np.zeros(1, np.int64), *numbers, found)
        for g in range(2):
            unpack_eight(width, memory, 5 + g * width, *numbers, expected[0], 8 * g)
        np.testing.assert_array_equal(found, expected)


@given(seed=seeds, shape=shapes, spread=st.sampled_from((0, 1, 20, 2**17, 2**45)))
def test_weights(numba: Kernel, seed: int, shape: tuple[int, int, int], spread: int) -> None:
    """Scaled scores are integers with a binary point; both ends of the table are passed."""
    generator = np.random.default_rng(seed)
    scores = generator.integers(-spread, spread + 1, shape) / 2.0 ** generator.integers(0, 12)
    visible = some_visible(generator, shape[1], shape[2])
    mine, theirs = scores.copy(), scores.copy()
    np.testing.assert_array_equal(NUMPY.weights(mine, visible), numba.weights(theirs, visible))
    np.testing.assert_array_equal(mine, theirs)
    assert (mine.max(axis=-1) == 65535).all()
    for row, seen in enumerate(visible):
        assert not mine[:, row, seen:].any()


@given(
    seed=seeds,
    shape=shapes,
    keep=st.integers(1, 45),
    levels=st.sampled_from((1, 2, 5, 65535)),
    share=st.sampled_from((0.0, 0.2, 0.5, 1.0)),
)
def test_drop_values(
    numba: Kernel, seed: int, shape: tuple[int, int, int], keep: int, levels: int, share: float
) -> None:
    """Few levels make many ties; both must keep what sorting keeps."""
    limit = int(share * levels)
    generator = np.random.default_rng(seed)
    weights = generator.integers(0, levels + 1, shape).astype(np.float64)
    visible = some_visible(generator, shape[1], shape[2])
    for row, seen in enumerate(visible):
        weights[:, row, seen:] = 0.0
    expected, kept = np.zeros_like(weights), np.zeros(shape[:2], int)
    for h, row in np.ndindex(shape[:2]):
        order = sorted(range(visible[row]), key=lambda j, h=h, row=row: (-weights[h, row, j], j))[:keep]
        loud = [j for j in order if weights[h, row, j] >= limit]
        expected[h, row, loud], kept[h, row] = weights[h, row, loud], len(loud)
    for one in (NUMPY, numba):
        block = weights.copy()
        np.testing.assert_array_equal(one.drop_values(block, visible, keep, limit), kept, err_msg=one.name)
        np.testing.assert_array_equal(block, expected, err_msg=one.name)


@given(seed=seeds, shape=shapes, value_bits=st.integers(4, 12))
def test_division(numba: Kernel, seed: int, shape: tuple[int, int, int], value_bits: int) -> None:
    """Both kernels, against the contract's integers."""
    generator = np.random.default_rng(seed)
    weights = generator.integers(0, 65536, shape).astype(np.float64)
    weights[..., 0] = 65535
    top = 1 << value_bits - 1
    total = weights @ generator.integers(-top, top, (shape[0], shape[2], 8)).astype(np.float64)
    sums = weights.sum(axis=-1)
    gain, output, loudness = [0] * shape[2], np.zeros(total.shape, np.int16), [0] * shape[0]
    for h, q in np.ndindex(shape[:2]):
        z = max(int(sums[h, q]).bit_length() - 17, 0)
        reciprocal = (1 << 33 + z) // int(sums[h, q])
        for j, weight in enumerate(weights[h, q]):
            gain[j] += (8 * reciprocal >> z) * int(weight)
        for d, accumulated in enumerate(total[h, q]):
            product = (int(accumulated) + (1 << z >> 1) >> z) * reciprocal
            exact = product + (1 << 16 + value_bits) >> 17 + value_bits
            output[h, q, d] = min(max(exact, -32768), 32767)
        loudness[h] += int(np.abs(output[h, q].astype(int)).sum())
    for one in (NUMPY, numba):
        mine, out = np.zeros(shape[2]), np.empty_like(output)
        unit, reciprocal = one.add_gain(mine, weights, sums)
        assert one.divide(total, unit, reciprocal, value_bits, out).tolist() == loudness, one.name
        assert mine.tolist() == gain, one.name
        np.testing.assert_array_equal(out, output, err_msg=one.name)


FORMATS = {
    "12 bit": Quantization.static(12),
    "4 bit": Quantization.static(4),
    "both planes": Quantization(10, 6, 4, 6, 4, KeyPolicy.ALWAYS, ValuePolicy.ALWAYS),
    "progressive": Quantization.progressive(6, 4, 0.1),
    "by key": Quantization.by_key(4, 4, 1 / 16),
    "progressive, half refetch": Quantization.progressive(8, 4, 0.3),
}


def run(name: str, quantization: Quantization, tokens: int, heads: int, **changes: Any) -> LayerResult:
    device = Emulator(memory_bytes=1 << 23, kernel=name)
    data = layer(device, quantization, heads=heads, tokens=tokens)
    if "query_slots" in changes:
        changes["queries"] = data.q[:, changes["query_slots"]]
    return Accelerator(device).attend(data.sequence, data.request(**changes))


@pytest.mark.parametrize("quantization", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"causal": True},
        {"causal": True, "keep_values": 3, "keep_tokens": 5, "keep_heads": 2},
        {"keep_values": 7},
        {"causal": True, "key_slots": np.array([0, 1, 30, 31, 40]), "keep_values": 2},
        {"query_slots": np.array([39]), "causal": True, "keep_values": 9},
        {"query_slots": np.array([39]), "value_limit": 20000},
    ],
    ids=["all", "causal", "pruned", "values", "few visible", "decode", "loud values"],
)
def test_jobs(quantization: Quantization, changes: dict[str, Any]) -> None:
    results = [run(name, quantization, tokens=41, heads=3, **changes) for name in available_kernels()]
    assert len(results) == 2
    assert results[0].answer.differences(results[1].answer) == []
    assert results[0].answer.output.any()


@pytest.mark.parametrize("causal", [False, True])
def test_a_big_job(causal: bool) -> None:
    """512 keys: blocks of rows and of heads that do not divide evenly."""
    results = [
        run(name, Quantization.progressive(6, 4, 0.1), 512, 5, causal=causal, keep_values=50)
        for name in available_kernels()
    ]
    assert results[0].answer.differences(results[1].answer) == []
    assert 0 < results[0].answer.fields["refetched_rows"] < 5 * 512


def test_auto_is_the_fastest_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel("auto").name == "numba"
    monkeypatch.setattr("spatten_drivers.model.kernels.available_kernels", lambda: ("numpy",))
    assert kernel("auto").name == "numpy"
    with pytest.raises(ConfigError, match=r"^kernel is 'numba', which is not installed; "):
        kernel("numba")


def test_an_unknown_kernel() -> None:
    with pytest.raises(ConfigError) as error:
        kernel("cuda")
    assert str(error.value) == "kernel is 'cuda'; expected 'auto' or one of ('numpy', 'numba')"
