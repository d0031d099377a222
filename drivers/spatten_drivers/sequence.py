# SPDX-License-Identifier: BSD-2-Clause
"""The K/V planes of one sequence in device memory: one row a token, written once, all layers and heads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .buffer import allocate
from .devices.base import Device
from .errors import ConfigError, OperandError
from .formats import Quantization
from .job import JobTemplate, KeyPolicy
from .kv_planes import Format, Planes, Shape, Tensor
from .packing import Target, appender, plain
from .quantize import symmetric_scale


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
        k, v = Format(q.k_msb_bits, q.k_lsb_bits), Format(q.v_msb_bits, q.v_lsb_bits)
        shared = k == v
        both = [Planes(device, shape, shape.heads * (1 + shared), form, q) for form in dict.fromkeys((k, v))]
        self.k, self.v = Tensor(both[0], 0, shape.heads), Tensor(both[-1], shape.heads * shared, shape.heads)
        #: Planes, and where in them the heads of K or of V begin, or of both.
        self._planes = [(both[0], (0, shape.heads))] if shared else [(planes, (0,)) for planes in both]
        #: By layer where rows of K and of V go.
        self.targets: list[tuple[Target, Target]] = [
            (self.k.target(layer), self.v.target(layer)) for layer in range(shape.layers)
        ]
        self._append = appender(device.kernel)
        self._templates: dict[int, JobTemplate] = {}
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
        ids = self._check_rows(layer, heads, slots, k.shape, v.shape)
        targets, k, v = self.targets[layer], plain(k), plain(v)
        if not self._append(k, v, heads, slots, *targets, False):
            needed = [symmetric_scale(k, self.k.bits), symmetric_scale(v, self.v.bits)]
            for tensor, scale in zip((self.k, self.v), needed, strict=True):
                tensor.planes.fit_scales(layer, heads + tensor.first, int(slots[0]), scale)
            self._append(k, v, heads, slots, *targets, True)
        end = int(slots[-1]) + 1
        for planes, first in self._planes:
            planes.upload(layer, tuple([start + i for start in first for i in ids]), int(slots[0]), end)

    def begin_importance(self, words: NDArray[np.unsignedinteger]) -> None:
        """Start the running importance of the first slots at ``words``, units of 2^-12.

        A job adds to them if its ``add_tokens`` says so. Other slots, and heads, start from nothing.

        Raises
        ------
        OperandError : more words than slots.
        """
        if len(words) > self.shape.slots:
            raise OperandError(
                f"{len(words)} words of importance; the sequence holds {self.shape.slots} slots"
            )
        self.token_importance[: len(words)] = words
        self.token_importance.sync_to_device()

    def job_template(self, layer: int) -> JobTemplate:
        """What all jobs of a layer have in common: the device, formats, planes and running importance."""
        if layer not in self._templates:
            config = self.device.config
            self._templates[layer] = JobTemplate(
                {
                    "abi_minor": config.abi_minor,
                    "config_digest_lo": config.digest & 0xFFFFFFFF,
                    "config_digest_hi": config.digest >> 32,
                    "head_dim": self.shape.head_dim,
                    "total_heads": self.shape.heads,
                    "token_importance_address": self.token_importance.device_address,
                    "head_importance_address": self.head_importance.device_address,
                    **self.quantization.job_fields,
                    **self.k.fields("k", layer),
                    **self.v.fields("v", layer),
                }
            )
        return self._templates[layer]

    def _check_rows(
        self,
        layer: int,
        heads: NDArray[np.intp],
        slots: NDArray[np.intp],
        k: tuple[int, ...],
        v: tuple[int, ...],
    ) -> list[int]:
        """The heads as plain numbers."""
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
        return self.check_place(layer, heads)

    def check_place(self, layer: int, heads: NDArray[np.intp]) -> list[int]:
        """The heads as plain numbers; raises :class:`OperandError` unless they and the layer are there."""
        ids: list[int] = heads.tolist()  # a dozen at most: plain numbers cost less than arrays
        if not 0 <= layer < self.shape.layers or min(ids) < 0 or max(ids) >= self.shape.heads:
            raise OperandError(
                f"layer {layer}, heads {ids}; expected a layer below {self.shape.layers} and "
                f"heads below {self.shape.heads}"
            )
        return ids

    def copy(self) -> Sequence:
        """A sequence of its own with the same rows and importance (beam search)."""
        twin = Sequence(self.device, self.shape, self.quantization)
        for (mine, _), (theirs, _) in zip(twin._planes, self._planes, strict=True):
            mine.copy_from(theirs)
        for copied, original in (
            (twin.token_importance, self.token_importance),
            (twin.head_importance, self.head_importance),
        ):
            original.sync_from_device()
            copied[...] = original
            copied.sync_to_device()
        return twin

    def free(self) -> None:
        """Give the device memory back; the sequence cannot be used any more."""
        self._templates.clear()
        for planes, _ in self._planes:
            planes.free()
        self.token_importance.freebuffer()
        self.head_importance.freebuffer()

    @property
    def uploaded_bytes(self) -> int:
        """Bytes of K and V written to device memory so far."""
        return sum(planes.uploaded_bytes for planes, _ in self._planes)


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
    if quantization.k_policy == KeyPolicy.BY_KEY and config.abi_minor < 1:
        raise ConfigError(
            f"k_policy is BY_KEY; {device} speaks contract {config.abi}, which cannot refetch by key. Load a "
            "bitstream of 1.1, or use a schedule without"
        )
    if widest > config.operand_bits:
        raise ConfigError(f"K or V of {widest} bits; {device} works on at most {config.operand_bits}")
