# SPDX-License-Identifier: BSD-2-Clause
"""K and V planes of a sequence: what is stored, how scales grow, and what is refused."""

from collections.abc import Callable

import numpy as np
import pytest

from spatten_drivers import Device, Quantization, Sequence, Shape
from spatten_drivers.errors import ConfigError, OperandError
from spatten_drivers.kv_planes import Tensor
from spatten_drivers.planes import unpack_rows

HEADS, SLOTS = 3, 20
ALL = np.arange(HEADS)
FORMATS = {
    "one plane": Quantization.static(8),
    "two planes": Quantization.progressive(6, 4),
    "K wider than V": Quantization(k_msb_bits=8, v_msb_bits=6, v_lsb_bits=4),
}


def a_sequence(device: Device, quantization: Quantization, layers: int = 2) -> Sequence:
    shape = Shape(layers, HEADS, device.config.head_dims[0], SLOTS)
    return Sequence(device, shape, quantization)


def noise(device: Device, rows: int, seed: int = 0, heads: int = HEADS) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.uniform(-1, 1, (heads, rows, device.config.head_dims[0])).astype(np.float32)


def slots(first: int, rows: np.ndarray) -> np.ndarray:
    """The slots from ``first`` on that ``rows [heads, n, D]`` take."""
    return np.arange(first, first + rows.shape[1])


def stored(device: Device, tensor: Tensor, layer: int, rows: int) -> np.ndarray:
    """Integers ``[heads, rows, D]`` as device memory holds them."""
    total = 0
    for plane, width in ((tensor.msb, tensor.bits - (4 if tensor.lsb is not None else 0)), (tensor.lsb, 4)):
        if plane is not None:
            plane[layer].sync_from_device()
            signed = plane is tensor.msb
            part = unpack_rows(
                np.asarray(plane[layer, :, :rows]), width, device.config.head_dims[0], signed=signed
            )
            total = part if signed else (total << 4) + part
    return np.asarray(total)


@pytest.mark.parametrize("quantization", FORMATS.values(), ids=FORMATS)
def test_rows_are_stored_to_half_a_step(device: Device, quantization: Quantization) -> None:
    sequence = a_sequence(device, quantization)
    k, v = noise(device, 5), 3 * noise(device, 5, seed=1)
    sequence.write(1, ALL, slots(0, k), k, v)
    for tensor, values in ((sequence.k, k), (sequence.v, v)):
        scale = tensor.scale[1][:, None, None]
        loudest = np.abs(values).max(axis=(1, 2))
        np.testing.assert_allclose(scale[:, 0, 0] * (2 ** (tensor.bits - 1) - 1), loudest)
        assert (np.abs(stored(device, tensor, 1, 5) * scale - values) <= 0.501 * scale).all()
        assert not tensor.scale[0].any()
        assert tensor.saturated == tensor.rescaled == 0


def test_rows_of_some_heads(device: Device) -> None:
    sequence = a_sequence(device, FORMATS["two planes"])
    k = noise(device, 4)
    sequence.write(0, ALL, slots(0, k), k, k)
    before = stored(device, sequence.k, 0, 6)
    some = np.array([0, 2])
    later = 0.5 * noise(device, 2, seed=3, heads=2)
    sequence.write(0, some, slots(4, later), later, later)
    after = stored(device, sequence.k, 0, 6)
    np.testing.assert_array_equal(after[:, :4], before[:, :4])
    np.testing.assert_array_equal(after[1], before[1])
    scale = sequence.k.scale[0, some][:, None, None]
    assert (np.abs(after[some, 4:] * scale - later) <= 0.501 * scale).all()


@pytest.mark.parametrize("quantization", FORMATS.values(), ids=FORMATS)
def test_louder_rows_double_the_scale_of_their_head(device: Device, quantization: Quantization) -> None:
    sequence = a_sequence(device, quantization)
    quiet = noise(device, 6)
    sequence.write(0, ALL, slots(0, quiet), quiet, quiet)
    before, scale = stored(device, sequence.k, 0, 6).astype(np.int64), sequence.k.scale[0].copy()
    loud = noise(device, 2, seed=5)
    loud[1] *= 3.0 * np.abs(quiet[1]).max() / np.abs(loud[1]).max()
    loud[2] *= 0.9 * np.abs(quiet[2]).max() / np.abs(loud[2]).max()
    loud[0] *= 2.0 * np.abs(quiet[0]).max() / np.abs(loud[0]).max()
    sequence.write(0, ALL, slots(6, loud), loud, loud)
    np.testing.assert_array_equal(sequence.k.scale[0], scale * [2, 4, 1])
    assert (sequence.k.rescaled, sequence.v.rescaled, sequence.k.saturated) == (2, 2, 0)
    after = stored(device, sequence.k, 0, 8)
    for head, factor in enumerate((2, 4, 1)):
        np.testing.assert_array_equal(after[head, :6], np.floor(before[head] / factor + 0.5))
    error = np.abs(after[:, 6:] * sequence.k.scale[0][:, None, None] - loud)
    assert (error <= 0.501 * sequence.k.scale[0][:, None, None]).all()


def test_louder_rows_saturate_if_asked(device: Device) -> None:
    sequence = a_sequence(device, Quantization.static(8, growth="saturate"))
    quiet, loud = noise(device, 6), 2 * noise(device, 2, seed=5)
    sequence.write(0, ALL, slots(0, quiet), quiet, quiet)
    scale = sequence.k.scale[0].copy()
    sequence.write(0, ALL, slots(6, loud), loud, loud)
    np.testing.assert_array_equal(sequence.k.scale[0], scale)
    steps = np.rint(loud / scale[:, None, None])
    assert sequence.k.saturated == (np.abs(steps) > 127).sum() > 0
    assert sequence.k.rescaled == 0
    np.testing.assert_array_equal(stored(device, sequence.k, 0, 8)[:, 6:], steps.clip(-127, 127))


def test_headroom_leaves_room(device: Device) -> None:
    sequence = a_sequence(device, Quantization.static(8, headroom=2.0))
    quiet = noise(device, 6)
    sequence.write(0, ALL, slots(0, quiet), quiet, quiet)
    sequence.write(0, ALL, slots(6, 1.9 * quiet), 1.9 * quiet, 1.9 * quiet)
    assert sequence.k.rescaled == 0
    assert 63 <= np.abs(stored(device, sequence.k, 0, 6)).max() <= 64


def test_below_full_range_the_loudest_are_clamped_and_steps_are_finer(device: Device) -> None:
    sequence = a_sequence(device, Quantization.static(4, headroom=0.8, growth="saturate"))
    values = noise(device, 6)
    sequence.write(0, ALL, slots(0, values), values, values)
    scale = 0.8 * np.abs(values).max(axis=(1, 2)) / 7
    np.testing.assert_allclose(sequence.k.scale[0], scale)
    steps = np.rint(values / scale[:, None, None])
    assert sequence.v.saturated == (np.abs(steps) > 7).sum() > 0
    np.testing.assert_array_equal(stored(device, sequence.k, 0, 6), steps.clip(-7, 7))


def test_a_head_that_was_silent(device: Device) -> None:
    sequence = a_sequence(device, FORMATS["two planes"])
    silent, loud = np.zeros_like(noise(device, 3)), noise(device, 3)
    sequence.write(0, ALL, slots(0, silent), silent, silent)
    sequence.write(0, ALL, slots(3, loud), loud, loud)
    values = stored(device, sequence.k, 0, 6) * sequence.k.scale[0][:, None, None]
    assert not values[:, :3].any()
    assert (np.abs(values[:, 3:] - loud) <= 0.501 * sequence.k.scale[0][:, None, None]).all()


def test_a_copy_is_independent(device: Device) -> None:
    sequence = a_sequence(device, FORMATS["two planes"])
    k, other = noise(device, 4), noise(device, 1, seed=9)
    sequence.write(0, ALL, slots(0, k), k, k)
    sequence.token_importance[:4] = 7
    sequence.token_importance.sync_to_device()
    twin = sequence.copy()
    sequence.write(0, ALL, slots(4, other), other, other)
    twin.write(0, ALL, slots(4, -other), -other, -other)
    for tensor in ("k", "v"):
        mine, theirs = (stored(device, getattr(s, tensor), 0, 5) for s in (sequence, twin))
        np.testing.assert_array_equal(mine[:, :4], theirs[:, :4])
        np.testing.assert_array_equal(mine[:, 4], -theirs[:, 4])
    twin.token_importance.sync_from_device()
    assert twin.token_importance[:5].tolist() == [7, 7, 7, 7, 0]


def test_memory_is_given_back(device: Device, bytes_taken: Callable[[], int]) -> None:
    sequence = a_sequence(device, FORMATS["two planes"])
    planes = (sequence.k.msb, sequence.k.lsb, sequence.v.msb, sequence.v.lsb)
    assert bytes_taken() >= sum(plane.nbytes for plane in planes if plane is not None)
    sequence.free()
    assert bytes_taken() == 0


def test_uploaded_bytes(device: Device) -> None:
    sequence = a_sequence(device, FORMATS["two planes"])
    k = noise(device, 4)
    sequence.write(0, ALL, slots(0, k), k, k)
    rows = sum(plane.shape[-1] for t in (sequence.k, sequence.v) for plane in (t.msb, t.lsb))
    assert sequence.uploaded_bytes == HEADS * 4 * rows


@pytest.mark.parametrize(("name", "transfers"), [("one plane", 1), ("two planes", 2), ("K wider than V", 3)])
def test_k_and_v_of_one_format_go_together(
    device: Device, monkeypatch: pytest.MonkeyPatch, name: str, transfers: int
) -> None:
    """One transfer a plane for rows of all heads."""
    sequence, k = a_sequence(device, FORMATS[name]), noise(device, 1)
    sent, write_rows = [], device.write_rows

    def counted(address: int, distance: int, rows: np.ndarray) -> None:
        sent.append(rows.nbytes)
        write_rows(address, distance, rows)

    monkeypatch.setattr(device, "write_rows", counted)
    sequence.write(0, ALL, slots(4, k), k, k)
    assert len(sent) == transfers
    assert sum(sent) == sequence.uploaded_bytes


@pytest.mark.parametrize("odd", ["k", "v"])
@pytest.mark.parametrize("name", ["one plane", "K wider than V"])
def test_numbers_that_are_none(device: Device, odd: str, name: str) -> None:
    """Nothing is stored then, of the other tensor neither."""
    sequence = a_sequence(device, FORMATS[name])
    rows = {"k": noise(device, 2), "v": noise(device, 2)}
    rows[odd][2, 0, 1] = np.nan
    with pytest.raises(OperandError, match=r"^activations hold NaN or infinity in head\(s\) \[2\]; "):
        sequence.write(0, ALL, slots(0, rows["k"]), rows["k"], rows["v"])
    assert not sequence.k.scale.any()
    assert sequence.uploaded_bytes == 0


def test_importance_starts_at_zero_whatever_memory_held(device: Device) -> None:
    """Device memory is not cleared between its users."""
    used = a_sequence(device, FORMATS["one plane"])
    addresses = [used.token_importance.device_address, used.head_importance.device_address]
    for address in addresses:
        device.write_memory(address, np.full(16, 0xFF, np.uint8))
    used.free()
    fresh = a_sequence(device, FORMATS["one plane"])
    assert [fresh.token_importance.device_address, fresh.head_importance.device_address] == addresses
    for buffer in (fresh.token_importance, fresh.head_importance):
        buffer.sync_from_device()
        assert not buffer.any()


@pytest.mark.parametrize(
    ("heads", "rows", "spare", "expected"),
    [(2, 1, 0, 1), (HEADS, 1, 4, 1), (HEADS, 0, 0, 0), (HEADS, 1, 0, 2)],
)
def test_wrong_shapes(device: Device, heads: int, rows: int, spare: int, expected: int) -> None:
    sequence, dim = a_sequence(device, FORMATS["one plane"]), device.config.head_dims[0]
    k = np.zeros((heads, rows, dim + spare), np.float32)
    with pytest.raises(OperandError) as error:
        sequence.write(0, ALL, np.arange(expected), k, k)
    assert str(error.value) == (
        f"K is {k.shape} and V is {k.shape}; expected both ({HEADS} heads, {expected} slots, {dim} elements)"
        ", and at least one of each"
    )


@pytest.mark.parametrize("where", [[SLOTS], [SLOTS - 1, SLOTS], [-1, 0], [2, 1], [1, 1]])
def test_slots_that_are_none(device: Device, where: list[int]) -> None:
    sequence, k = a_sequence(device, FORMATS["one plane"]), noise(device, len(where))
    with pytest.raises(OperandError) as error:
        sequence.write(0, ALL, np.array(where), k, k)
    assert str(error.value) == (
        f"rows at the slots {where[0]} to {where[-1]}; expected ascending slots below {SLOTS}, which is what "
        "the sequence holds. Truncate the input, or make a longer sequence"
    )
    assert sequence.uploaded_bytes == 0


@pytest.mark.parametrize("quantization", FORMATS.values(), ids=FORMATS)
def test_a_pruned_token_leaves_its_slot_out(device: Device, quantization: Quantization) -> None:
    sequence, k = a_sequence(device, quantization), noise(device, 3)
    sequence.write(0, ALL, np.array([1, 2, 6]), k, k)
    scale = sequence.k.scale[0][:, None, None]
    found = stored(device, sequence.k, 0, 7) * scale
    assert (np.abs(found[:, [1, 2, 6]] - k) <= 0.501 * scale).all()


OUTSIDE = [(2, [0, 1, 2]), (-1, [0, 1, 2]), (0, [0, 1, 3]), (0, [-1, 0, 1])]


@pytest.mark.parametrize(("layer", "heads"), OUTSIDE)
def test_no_such_layer_or_head(device: Device, layer: int, heads: list[int]) -> None:
    sequence, k = a_sequence(device, FORMATS["one plane"]), noise(device, 1)
    with pytest.raises(OperandError) as error:
        sequence.write(layer, np.array(heads), slots(0, k), k, k)
    assert str(error.value) == (
        f"layer {layer}, heads {heads}; expected a layer below 2 and heads below {HEADS}"
    )


def test_shapes_that_the_device_cannot_work_on(device: Device) -> None:
    config, rules = device.config, FORMATS["one plane"]
    dim, most, longest = config.head_dims[0], config.max_heads, config.max_sequence
    with pytest.raises(OperandError) as error:
        Sequence(device, Shape(1, 1, 48, 16), rules)
    assert str(error.value) == (
        f"head dimension 48 is not supported by {device}; it supports {config.head_dims}. Use another model "
        "or another configuration"
    )
    with pytest.raises(OperandError) as error:
        Sequence(device, Shape(1, most + 1, dim, 16), rules)
    assert str(error.value) == f"{most + 1} heads a layer; {device} works on 1 to {most}"
    with pytest.raises(OperandError) as error:
        Sequence(device, Shape(1, 1, dim, longest + 1), rules)
    assert str(error.value) == (
        f"sequence of {longest + 1} tokens; {device} holds 1 to {longest}. Truncate the input"
    )


def test_formats_that_are_too_wide(device: Device) -> None:
    if device.config.operand_bits == 16:  # takes everything there is
        return
    with pytest.raises(ConfigError) as error:
        a_sequence(device, Quantization.progressive(10, 4))
    assert str(error.value) == f"K or V of 14 bits; {device} works on at most 12"
