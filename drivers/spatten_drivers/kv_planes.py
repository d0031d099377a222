# SPDX-License-Identifier: BSD-2-Clause
"""Bit planes of K and V in device memory: rows quantized by growing scales, packed and uploaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .buffer import Buffer, allocate
from .devices.base import Device
from .formats import Quantization
from .packing import NO_PLANE, Target, put_rows
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
        self._device = device
        self.scale = np.zeros((shape.layers, heads))
        self.saturated, self.rescaled = np.zeros((2, heads), np.int64)
        self.uploaded_bytes = 0
        self._sides = [(self.msb, np.asarray(self.msb))]
        if self.lsb is not None:
            self._sides.append((self.lsb, np.asarray(self.lsb)))

    def copy_from(self, other: Planes) -> None:
        """Take over all rows and scales of a sequence of the same shape (a beam that split)."""
        for mine, theirs in ((self.msb, other.msb), (self.lsb, other.lsb)):
            if mine is not None and theirs is not None:
                mine[...] = theirs
                mine.sync_to_device()
                self.uploaded_bytes += mine.nbytes
        self.scale[...] = other.scale

    def free(self) -> None:
        """Give the device memory back."""
        self.msb.freebuffer()
        if self.lsb is not None:
            self.lsb.freebuffer()

    def target(self, layer: int, heads: slice) -> Target:
        """Some heads of a layer, for rows to be put there; they go to the device by :meth:`upload`."""
        planes = [host[layer, heads] for _, host in self._sides]
        msb, lsb = planes if self.format.lsb_bits else (*planes, NO_PLANE)
        widths = self.format.msb_bits, self.format.lsb_bits
        return Target(msb, lsb, *widths, self.scale[layer, heads], self.saturated[heads])

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
        put_rows((stored[None] + (1 << shift - 1)) >> shift, *place, self.target(layer, slice(None)))
        self.upload(layer, (head,), 0, end)
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

    def upload(self, layer: int, heads: tuple[int, ...], first: int, end: int) -> None:
        """Take rows of these heads from slot ``first`` to below slot ``end`` to the device.

        Slots between them that were left out go along as they are: one transfer a head costs less than many.
        """
        for plane, host in self._sides:
            of_layer, of_head, of_slot, _ = host.strides
            start = plane.device_address + layer * of_layer + first * of_slot
            for ids in _runs(heads):
                rows = host[layer, ids, first:end].reshape(ids.stop - ids.start, -1)
                self._device.write_rows(start + ids.start * of_head, of_head, rows)
                self.uploaded_bytes += rows.nbytes


class Tensor:
    """K or V of a sequence: so many heads of its planes, from ``first`` on."""

    def __init__(self, planes: Planes, first: int, heads: int) -> None:
        self.planes, self.first, self.bits = planes, first, planes.format.bits
        self._heads = slice(first, first + heads)
        self.msb = planes.msb[:, self._heads]
        self.lsb = None if planes.lsb is None else planes.lsb[:, self._heads]

    @property
    def scale(self) -> NDArray[np.float64]:
        """``[layers, heads]``, 0 where nothing was stored."""
        return self.planes.scale[:, self._heads]

    def target(self, layer: int) -> Target:
        """Where rows of a layer go."""
        return self.planes.target(layer, self._heads)

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


@lru_cache
def _runs(heads: tuple[int, ...]) -> list[slice]:
    """Neighbouring heads together, for fewer and longer transfers."""
    found, start = list[slice](), 0
    for end in range(1, len(heads) + 1):
        if end == len(heads) or heads[end] != heads[end - 1] + 1:
            found.append(slice(heads[start], heads[end - 1] + 1))
            start = end
    return found
