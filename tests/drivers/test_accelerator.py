# SPDX-License-Identifier: BSD-2-Clause
"""Floats through layer jobs: against attention in float64, with everything pruned that can be."""

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spatten_drivers import Accelerator, Device, KeyPolicy, Quantization, ValuePolicy
from spatten_drivers.errors import DeviceError, OperandError
from spatten_drivers.planes import row_bytes

from .floats import Floats, layer, probabilities

DENSE, TWO_PLANES = Quantization.static(12), Quantization.progressive(6, 4, 0.1)
UNIT = 1 / 4096  # of the running importance


def error_bound(q: np.ndarray, k: np.ndarray, v: np.ndarray, scaling: float, bits: int = 12) -> float:
    """The most that quantizing Q, K and V to ``bits`` bits can change an output.

    Each operand moves by half a step at most, hence a score by ``delta``, hence a probability by a factor
    of ``exp(2 * delta)``. Eight parts in 65,536 pay for the exponential, the reciprocal and the last bit.
    """
    limit = 2 ** (bits - 1) - 1
    q_half, k_half, v_half = (0.5 * np.abs(x).max() / limit for x in (q, k, v))
    q_sum, k_sum = (np.abs(x).sum(axis=-1).max() for x in (q, k))
    delta = scaling * (q_half * k_sum + k_half * q_sum + q.shape[-1] * q_half * k_half) + 2**-12
    return float((np.exp(2 * delta) - 1) * np.abs(v).max() + v_half + 8 / 65536 * np.abs(v).max())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_dense_attention_of_12_bits(
    device: Device, accelerator: Accelerator, causal: bool, seed: int
) -> None:
    data = layer(device, DENSE, tokens=40, seed=seed)
    request = data.request(causal=causal)
    output = accelerator.attend(data.sequence, request).output
    expected = probabilities(data.q, data.k, request.scaling, causal) @ data.v.astype(np.float64)
    worst = np.abs(output - expected).max()
    assert worst <= error_bound(data.q, data.k, data.v, request.scaling)
    assert worst <= 2**-8 * np.abs(data.v).max()  # what it is in practice
    assert output.dtype == np.float32


def test_fewer_bits_are_worse(device: Device, accelerator: Accelerator) -> None:
    errors = []
    for bits in (12, 8, 6, 4):
        data = layer(device, Quantization.static(bits))
        expected = probabilities(data.q, data.k, data.request().scaling) @ data.v.astype(np.float64)
        output = accelerator.attend(data.sequence, data.request()).output
        errors.append(np.abs(output - expected).mean())
    assert errors == sorted(errors)
    assert errors[0] < errors[-1] / 50


def with_policies(k_policy: KeyPolicy, v_policy: ValuePolicy, threshold: float = 0.1) -> Quantization:
    return Quantization(10, 6, 4, 6, 4, k_policy, v_policy, threshold)


@pytest.mark.parametrize(
    ("threshold", "k_policy", "v_policy", "all_refetch"),
    [
        (1.0, KeyPolicy.ALWAYS, ValuePolicy.ALWAYS, True),
        (0.0, KeyPolicy.MSB_ONLY, ValuePolicy.MSB_ONLY, False),
    ],
)
def test_progressive_at_its_ends(
    device: Device,
    accelerator: Accelerator,
    threshold: float,
    k_policy: KeyPolicy,
    v_policy: ValuePolicy,
    all_refetch: bool,
) -> None:
    """Rows that all refetch give the bits of both planes, rows that never do those of the MSB plane."""
    rows = []
    for rules in (Quantization.progressive(6, 4, threshold), with_policies(k_policy, v_policy)):
        data = layer(device, rules, sharpness=1.0)
        rows.append(accelerator.attend(data.sequence, data.request(add_tokens=False)))
    progressive, fixed = (result.answer for result in rows)
    np.testing.assert_array_equal(progressive.output, fixed.output)
    np.testing.assert_array_equal(progressive.token_importance, fixed.token_importance)
    assert progressive.fields["refetched_rows"] == (3 * 24 if all_refetch else 0)


def test_progressive_refetches_the_unsure_rows(device: Device, accelerator: Accelerator) -> None:
    """A row whose largest probability is below the threshold in the MSB pass takes the LSBs, no other."""
    threshold = 0.3
    data = layer(device, Quantization.progressive(6, 4, threshold), tokens=32, sharpness=3.0)
    request = data.request()
    result = accelerator.attend(data.sequence, request)
    # In the MSB pass K is its 10-bit integer without the last 4 bits.
    scale = data.sequence.k.scale[0][:, None, None]
    coarse = np.floor(np.rint(data.k / scale) / 16) * 16 * scale
    sure = probabilities(data.q, coarse, request.scaling).max(axis=-1)
    clear = np.abs(sure - threshold) > 0.01
    refetched = result.answer.fields["refetched_rows"]
    assert (sure[clear] < threshold).sum() <= refetched <= (sure[clear] < threshold).sum() + (~clear).sum()
    assert 0 < refetched < sure.size
    expected = probabilities(data.q, data.k, request.scaling) @ data.v.astype(np.float64)
    assert np.abs(result.output - expected).mean() < 0.05


def test_importance_is_the_sum_of_probabilities(device: Device, accelerator: Accelerator) -> None:
    data = layer(device, DENSE, heads=2, tokens=30)
    request = data.request(causal=True)
    result = accelerator.attend(data.sequence, request)
    exact = probabilities(data.q, data.k, request.scaling, causal=True)
    tokens = result.answer.token_importance * UNIT
    assert np.abs(tokens - exact.sum(axis=(0, 1))).max() < 0.02
    assert tokens.sum() == pytest.approx(2 * 30, rel=1e-3)
    heads = result.answer.head_importance * UNIT
    outputs = np.abs(exact @ data.v.astype(np.float64)).sum(axis=(1, 2))
    np.testing.assert_allclose(heads, outputs, rtol=2e-3)


def test_importance_adds_up_and_decays(device: Device, accelerator: Accelerator) -> None:
    data = layer(device, DENSE)
    importance = [
        accelerator.attend(data.sequence, data.request(**changes)).answer.token_importance.astype(np.int64)
        for changes in (
            {},
            {},
            {"decay": 0.5},
            {"add_tokens": False, "add_heads": False},
            {"add_tokens": True},
        )
    ]
    once = importance[0]
    np.testing.assert_array_equal(importance[1], 2 * once)
    np.testing.assert_array_equal(importance[2], 2 * once // 2 + once)
    np.testing.assert_array_equal(importance[3], once)
    np.testing.assert_array_equal(importance[4], 2 * once)


def greatest(importance: Floats, k: int, protected: tuple[int, ...] = ()) -> list[int]:
    order = sorted(range(len(importance)), key=lambda i: (i not in protected, -int(importance[i]), i))
    return sorted(order[:k])


@pytest.mark.parametrize("keep_tokens", [1, 7, 24])
@pytest.mark.parametrize("keep_heads", [1, 2, 3])
@pytest.mark.parametrize("protected", [(), (0,), (3, 17)])
def test_survivors(
    device: Device, accelerator: Accelerator, keep_tokens: int, keep_heads: int, protected: tuple[int, ...]
) -> None:
    data = layer(device, DENSE)
    shielded = frozenset(protected if keep_tokens >= len(protected) else ())
    request = data.request(keep_tokens=keep_tokens, keep_heads=keep_heads, protected=shielded)
    result = accelerator.attend(data.sequence, request)
    expected = greatest(result.answer.token_importance, keep_tokens, tuple(shielded))
    assert result.tokens.tolist() == expected
    assert result.heads.tolist() == greatest(result.answer.head_importance, keep_heads)
    kept = {int(token) & 0x7FFF for token in result.answer.tokens if token & 0x8000}
    assert kept == shielded


def test_a_cascade(device: Device, accelerator: Accelerator) -> None:
    """The survivors of one layer are the keys and heads of the next; what was pruned is not fetched."""
    data = layer(device, DENSE)
    first = accelerator.attend(data.sequence, data.request(keep_tokens=10, keep_heads=2))
    assert (first.keys_skipped, first.values_skipped) == (0, 0)
    queries = data.q[first.heads][:, first.tokens]
    request = data.request(
        heads=first.heads, queries=queries, query_slots=first.tokens, key_slots=first.tokens
    )
    second = accelerator.attend(data.sequence, request)
    assert second.answer.fields["keys_fetched"] == 2 * 10
    assert second.keys_skipped == second.values_skipped == 3 * 24 - 2 * 10
    k, v = (x[first.heads][:, first.tokens] for x in (data.k, data.v))
    expected = probabilities(queries, k, request.scaling) @ v.astype(np.float64)
    assert np.abs(second.output - expected).max() < 0.05
    dead = np.setdiff1d(np.arange(24), first.tokens)
    np.testing.assert_array_equal(second.answer.token_importance[dead], first.answer.token_importance[dead])


@pytest.mark.parametrize("keep_values", [1, 5, 24, 100])
def test_local_value_pruning(device: Device, accelerator: Accelerator, keep_values: int) -> None:
    data = layer(device, DENSE, sharpness=3.0)
    request = data.request(keep_values=keep_values)
    result = accelerator.attend(data.sequence, request)
    exact = probabilities(data.q, data.k, request.scaling)
    border = np.sort(exact, axis=-1)[..., -min(keep_values, 24), None]
    expected = np.where(exact >= border, exact, 0) @ data.v.astype(np.float64)
    # Where two probabilities are all but equal, quantization may keep the other one.
    assert np.median(np.abs(result.output - expected)) < 0.005
    assert (np.abs(result.output - expected) < 0.05).mean() > 0.97


@pytest.mark.usefixtures("speaks_1_1")
@pytest.mark.parametrize("limit", [1, 20000, 65535])
def test_value_limit(device: Device, accelerator: Accelerator, limit: int) -> None:
    """Values below a share of the greatest probability of their row are dropped."""
    data = layer(device, DENSE, sharpness=3.0)
    request = data.request(value_limit=limit)
    result = accelerator.attend(data.sequence, request)
    exact = probabilities(data.q, data.k, request.scaling)
    loud = exact >= exact.max(axis=-1, keepdims=True) * (limit - 0.5) / 65535
    expected = np.where(loud, exact, 0) @ data.v.astype(np.float64)
    # As above: a probability on the border may be taken for one on its other side.
    assert np.median(np.abs(result.output - expected)) < 0.005
    assert (np.abs(result.output - expected) < 0.05).mean() > 0.97


@pytest.mark.usefixtures("speaks_1_1")
def test_a_step_fetches_the_loud_values_alone(device: Device, accelerator: Accelerator) -> None:
    data = layer(device, DENSE, sharpness=3.0)
    request = data.request(queries=data.q[:, -1:], query_slots=np.array([23]), value_limit=6553)
    exact = probabilities(data.q[:, -1:], data.k, request.scaling)
    share = exact / exact.max(axis=-1, keepdims=True)
    assert np.abs(share - 0.1).min() > 0.002  # none so near the border that quantization decides
    fetched = accelerator.attend(data.sequence, request).answer.fields["values_fetched"]
    assert 3 <= fetched == np.count_nonzero(share > 0.1) < 3 * 24


@pytest.mark.usefixtures("speaks_1_1")
def test_refetch_by_key(device: Device, accelerator: Accelerator) -> None:
    """A step reads the LSBs of the keys that are likely by their MSBs, and is nearer to the truth for it."""
    threshold = 1 / 16
    data = layer(device, Quantization.by_key(4, 4, threshold, 12), tokens=48, sharpness=3.0)
    request = data.request(queries=data.q[:, -1:], query_slots=np.array([47]))
    result = accelerator.attend(data.sequence, request)
    scale = data.sequence.k.scale[0][:, None, None]
    coarse = np.floor(np.rint(data.k / scale) / 16) * 16 * scale
    first = probabilities(request.queries, coarse, request.scaling)
    assert np.abs(first - threshold).min() > 0.0005
    likely = np.count_nonzero(first > threshold)
    assert 3 < likely < 3 * 24
    row = row_bytes(data.q.shape[-1], 4, device.config.beat_bytes)
    assert result.answer.counters["read_k_lsb"] == likely * row
    v = data.v.astype(np.float64)
    expected = probabilities(request.queries, data.k, request.scaling) @ v
    assert np.abs(result.output - expected).mean() < 0.5 * np.abs(first @ v - expected).mean()


@pytest.mark.usefixtures("speaks_1_1")
def test_a_prompt_reads_keys_whole(device: Device, accelerator: Accelerator) -> None:
    """Of a sequence whose steps refetch by key."""
    outputs = [
        accelerator.attend(data.sequence, data.request()).output
        for data in (
            layer(device, Quantization.by_key(4, 4, 1 / 16, 12)),
            layer(device, Quantization(12, 4, 4, 12, 0, KeyPolicy.ALWAYS)),
        )
    ]
    np.testing.assert_array_equal(*outputs)


def test_a_decode_step_streams(device: Device, accelerator: Accelerator) -> None:
    """One query fetches the values it keeps only."""
    data = layer(device, DENSE)
    request = data.request(queries=data.q[:, -1:], query_slots=np.array([23]), causal=True, keep_values=6)
    result = accelerator.attend(data.sequence, request)
    assert result.output.shape == (3, 1, data.q.shape[-1])
    assert (result.keys_skipped, result.values_skipped) == (0, 3 * (24 - 6))


def test_more_jobs_than_the_queue_holds(device: Device, accelerator: Accelerator) -> None:
    data = layer(device, DENSE, tokens=8)
    count = device.config.job_queue_depth + 5
    scales = np.linspace(0.1, 1.0, count).astype(np.float32)
    requests = [data.request(queries=data.q * s, add_tokens=False, add_heads=False) for s in scales]
    tickets = [accelerator.submit(data.sequence, request) for request in requests]
    for ticket, request in zip(tickets, requests, strict=True):
        expected = probabilities(request.queries, data.k, request.scaling) @ data.v.astype(np.float64)
        assert np.abs(accelerator.wait(ticket).output - expected).max() < 0.05


def test_jobs_can_be_waited_for_in_any_order_and_again(device: Device, accelerator: Accelerator) -> None:
    data = layer(device, DENSE, tokens=8)
    tickets = [accelerator.submit(data.sequence, data.request(add_tokens=False)) for _ in range(3)]
    outputs = [accelerator.wait(tickets[i]).output for i in (2, 0, 1, 2)]
    for output in outputs[1:]:
        np.testing.assert_array_equal(output, outputs[0])


def test_two_drivers_share_a_device(device: Device) -> None:
    """Jobs are counted by the device, so no driver takes another's end for its own."""
    data = layer(device, DENSE, tokens=8)
    drivers = [Accelerator(device), Accelerator(device)]
    tickets = [drivers[i % 2].submit(data.sequence, data.request(add_tokens=False)) for i in range(5)]
    assert len({ticket.number for ticket in tickets}) == 5
    assert [ticket.number - tickets[0].number for ticket in tickets] == list(range(5))
    for i, ticket in enumerate(tickets):
        assert drivers[i % 2].wait(ticket).answer.fields["job_id"] == ticket.job["job_id"]


def test_a_forgotten_job_keeps_its_memory_until_it_ended(
    device: Device, bytes_taken: Callable[[], int]
) -> None:
    data = layer(device, DENSE, tokens=8)
    driver, quiet = Accelerator(device), bytes_taken()
    driver.submit(data.sequence, data.request())
    one = bytes_taken() - quiet
    assert one > 0
    ticket = driver.submit(data.sequence, data.request())
    assert bytes_taken() - quiet == 2 * one
    driver.wait(ticket)
    driver.submit(data.sequence, data.request())
    del ticket
    assert bytes_taken() - quiet == one


SHAPES = "(heads, query slots, head dimension) and at least one of each"
PLACES = "expected a layer below 1 and heads below 3"
SLOTS = "expected more than 23 and at most the 24 slots of the sequence"
LIMITS = "expected 0 (drops none) to 65535 (drops all that weigh less than the greatest of a row)"
NONE_LEFT = "Everything pruned leaves no answer"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query_slots": np.arange(4)}, f"queries are {{q}} with 24 keys; expected (3, 4, {{dim}}) {SHAPES}"),
        ({"key_slots": np.arange(0)}, f"queries are {{q}} with 0 keys; expected {{q}} {SHAPES}"),
        ({"layer": 1}, f"layer 1, heads [0, 1, 2]; {PLACES}"),
        ({"heads": np.array([0, 1, 3])}, f"layer 0, heads [0, 1, 3]; {PLACES}"),
        ({"n_slots": 25}, f"n_slots is 25 with slots up to 23; {SLOTS}"),
        ({"n_slots": 23}, f"n_slots is 23 with slots up to 23; {SLOTS}"),
        ({"keep_tokens": 0}, f"keep_tokens is 0; expected 1 to 24. {NONE_LEFT}"),
        ({"keep_tokens": 25}, f"keep_tokens is 25; expected 1 to 24. {NONE_LEFT}"),
        ({"keep_heads": 0}, f"keep_heads is 0; expected 1 to 3. {NONE_LEFT}"),
        ({"keep_values": 0}, f"keep_values is 0; expected 1 to 65535. {NONE_LEFT}"),
        ({"value_limit": -1}, f"value_limit is -1; {LIMITS}"),
        ({"value_limit": 65536}, f"value_limit is 65536; {LIMITS}"),
        (
            {"keep_tokens": 1, "protected": frozenset({2, 3, 99})},
            "2 tokens are protected but keep_tokens is 1; keep at least them",
        ),
        ({"decay": 1.5}, "decay is 1.5; expected a factor from 0 to 1"),
        ({"decay": float("nan")}, "decay is nan; expected a factor from 0 to 1"),
    ],
    ids=lambda part: part if isinstance(part, str) else "-".join(part),
)
def test_requests_that_are_refused(
    device: Device, accelerator: Accelerator, changes: dict[str, Any], message: str
) -> None:
    data, done = layer(device, DENSE), device.read_register("JOBS_DONE")
    with pytest.raises(OperandError) as error:
        accelerator.submit(data.sequence, data.request(**changes))
    assert str(error.value) == message.format(q=data.q.shape, dim=data.q.shape[-1])
    assert device.read_register("JOBS_DONE") == done


def test_queries_that_are_not_finite(device: Device, accelerator: Accelerator) -> None:
    """Memory goes back at once, although the error that is kept knows of it."""
    data = layer(device, DENSE)
    data.q[1, 2, 3] = np.inf
    gc.collect()  # what earlier tests left
    taken = device.allocator.bytes_taken
    with pytest.raises(OperandError, match=r"^activations hold NaN or infinity in head\(s\) \[1\]") as error:
        accelerator.submit(data.sequence, data.request())
    assert device.allocator.bytes_taken == taken
    assert error.tb is not None


def test_a_sequence_freed_too_soon(device: Device, accelerator: Accelerator) -> None:
    """Its importance may be another's by now."""
    data = layer(device, DENSE)
    ticket = accelerator.submit(data.sequence, data.request())
    data.sequence.free()
    with pytest.raises(DeviceError, match=r"^this buffer was freed"):
        accelerator.wait(ticket)
