# SPDX-License-Identifier: BSD-2-Clause
"""Bit planes of K and V in device memory: rows quantized by growing scales, packed and uploaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .buffer import Buffer, allocate
from .devices.base import Device
from .formats import Quantization
from .packing import NO_PLANE, Target, packer, put_rows
from .planes import LSB_WIDTH, row_bytes, unpack_rows


@dataclass(frozen=True)
class Shape:
    """Layers, heads of a layer, head dimension and slots of a sequence."""

    layers: int
    heads: int
    head_dim: int
    slots: int


@dataclass(frozen=True)
class Format:
    """Widths of an MSB plane and of an LSB plane, 0 where there is none."""

    msb_bits: int
    lsb_bits: int

    @property
    def bits(self) -> int:
        return self.msb_bits + self.lsb_bits


class Planes:
    """Planes ``[layers, heads, slots, row]`` of one format, with a scale for each layer and head.

    K and V of one format share them, V's heads behind those of K: what is done to a row of both is done once,
    and goes to the device in one transfer.

    Attributes
    ----------
    msb, lsb : the planes; ``lsb`` is ``None`` where there is none.
    scale : ``float64 [layers, heads]``, 0 where nothing was stored.
    saturated : ``int64 [heads]``, elements clamped so far; only with ``growth="saturate"``.
    rescaled : ``int64 [heads]``, times a scale was doubled because a later row was louder.
    uploaded_bytes : bytes written to device memory so far.
    """

    def __init__(
        self, device: Device, shape: Shape, heads: int, form: Format, quantization: Quantization
    ) -> None:
        self.format, self._rules, self._dim = form, quantization, shape.head_dim
        beat = device.config.beat_bytes

        def plane(width: int) -> Buffer:
            return allocate(
                (shape.layers, heads, shape.slots, row_bytes(self._dim, width, beat)), "u1", device
            )

        self.msb = plane(form.msb_bits)
        self.lsb = plane(form.lsb_bits) if form.lsb_bits else None
        self._device, self._packer = device, packer(device.kernel)
        self._targets = [self._target(layer) for layer in range(shape.layers)]
        self.scale = np.zeros((shape.layers, heads))
        self.saturated, self.rescaled = np.zeros((2, heads), np.int64)
        self.uploaded_bytes = 0

    def write(
        self,
        layer: int,
        heads: NDArray[np.intp],
        slots: NDArray[np.intp],
        values: NDArray[np.floating],
    ) -> None:
        """Quantize ``values [h, n, D]`` by the scales that there are, and store them at ``slots [n]``."""
        scale = self.scale[layer][heads]
        self._packer.store(values, scale, heads, slots, self._targets[layer], self.saturated)
        self._upload(layer, heads, slots)

    def fits(self, layer: int, heads: NDArray[np.intp], values: NDArray[np.floating]) -> bool:
        """Whether ``values [h, n, D]`` are finite and need no greater scales than there are."""
        return self._packer.fits(values, self.scale[layer][heads], self.format.bits)

    def copy_from(self, other: Planes) -> None:
        """Take over all rows and scales of a sequence of the same shape (a beam that split)."""
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

    def _target(self, layer: int) -> Target:
        lsb = NO_PLANE if self.lsb is None else np.asarray(self.lsb[layer])
        return Target(np.asarray(self.msb[layer]), lsb, self.format.msb_bits, self.format.lsb_bits)

    def fit_scales(self, layer: int, heads: NDArray[np.intp], end: int, needed: NDArray[np.float64]) -> None:
        """First rows choose the scale; louder later rows double it, unless they are to saturate.

        Rows stored so far lie below slot ``end``; those that are next need the scales ``needed [h]``.
        """
        current = self.scale[layer][heads]
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
        shift = min(doublings, self.format.bits + 1)  # nothing is left of any integer from there on
        stored = self._load(layer, head, end).astype(np.int64)
        place = np.array([head]), np.arange(end)
        put_rows((stored[None] + (1 << shift - 1)) >> shift, *place, self._targets[layer])
        self._upload(layer, *place)
        self.rescaled[head] += 1

    def _load(self, layer: int, head: int, end: int) -> NDArray[np.int16]:
        """Stored integers ``[end, D]`` from the host's side of the planes."""
        msb = unpack_rows(
            np.asarray(self.msb[layer, head, :end]), self.format.msb_bits, self._dim, signed=True
        )
        if self.lsb is None:
            return msb
        lsb = unpack_rows(np.asarray(self.lsb[layer, head, :end]), LSB_WIDTH, self._dim, signed=False)
        return (msb << LSB_WIDTH) + lsb

    def _upload(self, layer: int, heads: NDArray[np.intp], slots: NDArray[np.intp]) -> None:
        """Upload these heads from the first to the last of ``slots [n]``.

        Slots between them that are left out go along as they are: one transfer a head costs less than many.
        """
        first, end = int(slots[0]), int(slots[-1]) + 1
        target, runs = self._targets[layer], [*_runs(heads)]
        for plane, host in ((self.msb, target.msb), (self.lsb, target.lsb)):
            if plane is not None:
                of_layer, of_head, of_slot, _ = plane.strides
                start = plane.device_address + layer * of_layer + first * of_slot
                for ids in runs:
                    rows = host[ids, first:end].reshape(ids.stop - ids.start, -1)
                    self._device.write_rows(start + ids.start * of_head, of_head, rows)
                    self.uploaded_bytes += rows.nbytes


class Tensor:
    """K or V of a sequence: so many heads of its planes, from ``first`` on."""

    def __init__(self, planes: Planes, first: int, heads: int) -> None:
        self.planes, self.bits = planes, planes.format.bits
        self._heads = slice(first, first + heads)
        self.msb = planes.msb[:, self._heads]
        self.lsb = None if planes.lsb is None else planes.lsb[:, self._heads]

    @property
    def scale(self) -> NDArray[np.float64]:
        """``[layers, heads]``, 0 where nothing was stored."""
        return self.planes.scale[:, self._heads]

    @property
    def saturated(self) -> int:
        """Elements clamped so far; only with ``growth="saturate"``."""
        return int(self.planes.saturated[self._heads].sum())

    @property
    def rescaled(self) -> int:
        """Times a head's scale was doubled because a later row was louder."""
        return int(self.planes.rescaled[self._heads].sum())

    def fields(self, name: str, layer: int) -> dict[str, int]:
        """Addresses and strides of this layer's planes, as a job's fields."""
        found = {}
        for part, plane in (("msb", self.msb), ("lsb", self.lsb)):
            if plane is not None:
                of_layer, of_head = plane.strides[:2]
                found[f"{name}_{part}_address"] = plane.device_address + layer * of_layer
                found[f"{name}_{part}_stride"] = of_head
        return found


def _runs(heads: NDArray[np.intp]) -> Iterator[slice]:
    """Neighbouring heads together, for fewer and longer transfers."""
    ids, start = heads.tolist(), 0
    for end in range(1, len(ids) + 1):
        if end == len(ids) or ids[end] != ids[end - 1] + 1:
            yield slice(ids[start], ids[end - 1] + 1)
            start = end
