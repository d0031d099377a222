# SPDX-License-Identifier: BSD-2-Clause
"""The K/V planes of one sequence in device memory: one row a token, written once, all layers and heads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .buffer import Buffer, allocate
from .devices.base import Device
from .errors import ConfigError, OperandError
from .formats import Quantization
from .planes import LSB_WIDTH, pack_rows, row_bytes, split_planes, unpack_rows
from .quantize import quantize, symmetric_scale


@dataclass(frozen=True)
class Shape:
    """Layers, heads of a layer, head dimension and slots of a sequence."""

    layers: int
    heads: int
    head_dim: int
    slots: int


class Tensor:
    """K or V of a sequence: planes ``[layers, heads, slots, row]`` and per-head scales ``[layers, heads]``.

    Attributes
    ----------
    saturated : elements clamped so far; only with ``growth="saturate"``.
    rescaled : times a head's scale was doubled because a later row was louder.
    uploaded_bytes : bytes written to device memory so far.
    """

    def __init__(
        self, device: Device, shape: Shape, msb_bits: int, lsb_bits: int, quantization: Quantization
    ) -> None:
        self._msb_bits, self._lsb_bits, self._rules = msb_bits, lsb_bits, quantization
        self.bits = msb_bits + lsb_bits
        self._dim = shape.head_dim
        beat = device.config.beat_bytes

        def plane(width: int) -> Buffer:
            return allocate(
                (shape.layers, shape.heads, shape.slots, row_bytes(shape.head_dim, width, beat)), "u1", device
            )

        self.msb = plane(msb_bits)
        self.lsb = plane(lsb_bits) if lsb_bits else None
        self.scale = np.zeros((shape.layers, shape.heads))
        self.saturated = self.rescaled = self.uploaded_bytes = 0

    def write(
        self,
        layer: int,
        heads: NDArray[np.intp],
        slots: NDArray[np.intp],
        values: NDArray[np.floating],
        needed: NDArray[np.float64],
    ) -> None:
        """Quantize ``values [h, n, D]``, which need the scales ``needed [h]``, and store them.

        They go to ``slots [n]``, above all rows stored so far.
        """
        self._fit_scales(layer, heads, int(slots[0]), needed)
        integers, saturated = quantize(values, self.scale[layer, heads], self.bits)
        self.saturated += saturated
        self._store(layer, heads, slots, integers)

    def fields(self, name: str, layer: int) -> dict[str, int]:
        """Addresses and strides of this layer's planes, as a job's fields."""
        found = {}
        for part, plane in (("msb", self.msb), ("lsb", self.lsb)):
            if plane is not None:
                of_layer, of_head = plane.strides[:2]
                found[f"{name}_{part}_address"] = plane.device_address + layer * of_layer
                found[f"{name}_{part}_stride"] = of_head
        return found

    def copy_from(self, other: Tensor) -> None:
        """Take over all rows and scales of a tensor of the same shape (a beam that split)."""
        for mine, theirs in ((self.msb, other.msb), (self.lsb, other.lsb)):
            if mine is not None and theirs is not None:
                mine[...] = theirs
                mine.sync_to_device()
                self.uploaded_bytes += mine.nbytes
        self.scale = other.scale.copy()

    def free(self) -> None:
        """Give the device memory back."""
        self.msb.freebuffer()
        if self.lsb is not None:
            self.lsb.freebuffer()

    def _fit_scales(self, layer: int, heads: NDArray[np.intp], end: int, needed: NDArray[np.float64]) -> None:
        """First rows choose the scale; louder later rows double it, unless they are to saturate.

        Rows stored so far lie below slot ``end``.
        """
        current = self.scale[layer, heads]
        if (needed <= current).all():
            return
        fresh = current == 0.0
        current[fresh] = needed[fresh] * self._rules.headroom
        if self._rules.growth == "double":
            doublings = np.ceil(np.log2(np.maximum(needed / current, 1.0)) - 1e-9).astype(int)
            for i in np.flatnonzero(doublings):
                self._requantize(layer, int(heads[i]), end, int(doublings[i]))
                current[i] *= 2.0 ** doublings[i]
        self.scale[layer, heads] = current

    def _requantize(self, layer: int, head: int, end: int, doublings: int) -> None:
        """Halve the stored integers of slots below ``end`` ``doublings`` times, rounding half up once."""
        shift = min(doublings, self.bits + 1)  # nothing is left of any integer from there on
        stored = self._load(layer, head, end).astype(np.int64)
        self._store(layer, np.array([head]), np.arange(end), (stored[None] + (1 << shift - 1)) >> shift)
        self.rescaled += 1

    def _load(self, layer: int, head: int, end: int) -> NDArray[np.int16]:
        """Stored integers ``[end, D]`` from the host's side of the planes."""
        msb = unpack_rows(np.asarray(self.msb[layer, head, :end]), self._msb_bits, self._dim, signed=True)
        if self.lsb is None:
            return msb
        lsb = unpack_rows(np.asarray(self.lsb[layer, head, :end]), LSB_WIDTH, self._dim, signed=False)
        return (msb << LSB_WIDTH) + lsb

    def _store(
        self, layer: int, heads: NDArray[np.intp], slots: NDArray[np.intp], integers: NDArray[np.integer]
    ) -> None:
        """Pack ``integers [h, n, D]`` and upload these heads from the first to the last of ``slots [n]``.

        Slots between them that are left out go along as they are: one transfer a head costs less than many.
        """
        span = slice(int(slots[0]), int(slots[-1]) + 1)
        msb, lsb = split_planes(integers, self._lsb_bits) if self._lsb_bits else (integers, integers)
        for plane, part, width in ((self.msb, msb, self._msb_bits), (self.lsb, lsb, LSB_WIDTH)):
            if plane is not None:
                rows = pack_rows(part, width, plane.shape[-1])
                for group, ids in _runs(heads):
                    piece = plane[layer, ids, span]
                    np.asarray(piece)[:, slots - slots[0]] = rows[group]
                    piece.sync_to_device()
                    self.uploaded_bytes += piece.nbytes


def _runs(heads: NDArray[np.intp]) -> Iterator[tuple[slice, slice]]:
    """Neighbouring heads together, for fewer and longer transfers: (places in the list, head ids)."""
    ids, start = heads.tolist(), 0
    for end in range(1, len(ids) + 1):
        if end == len(ids) or ids[end] != ids[end - 1] + 1:
            yield slice(start, end), slice(ids[start], ids[end - 1] + 1)
            start = end


class Sequence:
    """One sequence in device memory: K and V planes, and the running importance of tokens and heads.

    Parameters
    ----------
    device : where it lives.
    shape : layers, heads, head dimension and most slots.
    quantization : number formats of its rows.

    Raises
    ------
    OperandError : the shape is not one the device can work on.
    ConfigError : the formats are wider than the device's operands.
    """

    def __init__(self, device: Device, shape: Shape, quantization: Quantization) -> None:
        check_shape(device, shape, quantization)
        self.device, self.shape, self.quantization = device, shape, quantization
        q = quantization
        self.k = Tensor(device, shape, q.k_msb_bits, q.k_lsb_bits, q)
        self.v = Tensor(device, shape, q.v_msb_bits, q.v_lsb_bits, q)
        self.token_importance = allocate(_whole_beats(shape.slots, 4), "<u4", device)
        self.head_importance = allocate(_whole_beats(shape.heads, 8), "<u8", device)
        for importance in (self.token_importance, self.head_importance):
            importance.sync_to_device()  # memory may hold what its last user left

    def write(
        self,
        layer: int,
        heads: NDArray[np.intp],
        slots: NDArray[np.intp],
        k: NDArray[np.floating],
        v: NDArray[np.floating],
    ) -> None:
        """Append rows ``[h, n, D]`` of the given heads of a layer at ``slots [n]``.

        Slots ascend, and lie above those written before: a pruned token leaves its slot out.

        Raises
        ------
        OperandError : wrong shape, NaN or infinity, a layer or head that is not there, slots that do not
            ascend or leave the sequence; nothing was stored.
        """
        self._check_rows(layer, heads, slots, k.shape, v.shape)
        k_scale, v_scale = symmetric_scale(k, self.k.bits), symmetric_scale(v, self.v.bits)
        self.k.write(layer, heads, slots, k, k_scale)
        self.v.write(layer, heads, slots, v, v_scale)

    def _check_rows(
        self,
        layer: int,
        heads: NDArray[np.intp],
        slots: NDArray[np.intp],
        k: tuple[int, ...],
        v: tuple[int, ...],
    ) -> None:
        expected = (len(heads), len(slots), self.shape.head_dim)
        if k != expected or v != expected or 0 in expected:
            raise OperandError(
                f"K is {k} and V is {v}; expected both ({expected[0]} heads, {expected[1]} slots, "
                f"{expected[2]} elements), and at least one of each"
            )
        descends = len(slots) > 1 and (slots[1:] <= slots[:-1]).any()
        if slots[0] < 0 or slots[-1] >= self.shape.slots or descends:
            raise OperandError(
                f"rows at the slots {slots[0]} to {slots[-1]}; expected ascending slots below "
                f"{self.shape.slots}, which is what the sequence holds. Truncate the input, or make a longer "
                "sequence"
            )
        self.check_place(layer, heads)

    def check_place(self, layer: int, heads: NDArray[np.intp]) -> None:
        """Raise :class:`OperandError` unless the layer and all heads are there."""
        ids = heads.tolist()  # a dozen at most: plain numbers cost less than arrays
        if not 0 <= layer < self.shape.layers or min(ids) < 0 or max(ids) >= self.shape.heads:
            raise OperandError(
                f"layer {layer}, heads {ids}; expected a layer below {self.shape.layers} and "
                f"heads below {self.shape.heads}"
            )

    def copy(self) -> Sequence:
        """A sequence of its own with the same rows and importance (beam search)."""
        twin = Sequence(self.device, self.shape, self.quantization)
        twin.k.copy_from(self.k)
        twin.v.copy_from(self.v)
        for mine, theirs in (
            (twin.token_importance, self.token_importance),
            (twin.head_importance, self.head_importance),
        ):
            theirs.sync_from_device()
            mine[...] = theirs
            mine.sync_to_device()
        return twin

    def free(self) -> None:
        """Give the device memory back; the sequence cannot be used any more."""
        self.k.free()
        self.v.free()
        self.token_importance.freebuffer()
        self.head_importance.freebuffer()

    @property
    def uploaded_bytes(self) -> int:
        """Bytes of K and V written to device memory so far."""
        return self.k.uploaded_bytes + self.v.uploaded_bytes


def _whole_beats(count: int, item: int) -> int:
    """Items of ``item`` bytes that fill whole beats of any device (64 bytes is the longest)."""
    return -(-count * item // 64) * 64 // item


def check_shape(device: Device, shape: Shape, quantization: Quantization) -> None:
    """Raise as :class:`Sequence` does, without taking memory."""
    config = device.config
    if shape.head_dim not in config.head_dims:
        raise OperandError(
            f"head dimension {shape.head_dim} is not supported by {device}; it supports {config.head_dims}. "
            "Use another model or another configuration"
        )
    if not 1 <= shape.heads <= config.max_heads:
        raise OperandError(f"{shape.heads} heads a layer; {device} works on 1 to {config.max_heads}")
    if not 1 <= shape.slots <= config.max_sequence:
        raise OperandError(
            f"sequence of {shape.slots} tokens; {device} holds 1 to {config.max_sequence}. Truncate the input"
        )
    widest = max(quantization.k_bits, quantization.v_bits)
    if widest > config.operand_bits:
        raise ConfigError(f"K or V of {widest} bits; {device} works on at most {config.operand_bits}")
