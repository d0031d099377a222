# SPDX-License-Identifier: BSD-2-Clause
"""Bit planes: how Q, K and V integers lie in device memory (``docs/contract.md``, sections 2 and 3).

A row of ``D`` elements of ``width`` bits is one little-endian number. Four elements always fill ``width / 2``
whole bytes, and each of the four lies within two neighbouring bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import OperandError

MSB_WIDTHS = (4, 6, 8, 10, 12)
LSB_WIDTH = 4
_GROUP = 4
_PLACES = {width: np.ldexp(1.0, width * np.arange(_GROUP)) for width in MSB_WIDTHS}


def row_bytes(head_dim: int, width: int, beat_bytes: int) -> int:
    """Bytes from one row of a plane to the next: the payload padded to whole DRAM beats."""
    return padded(head_dim * width // 8, beat_bytes)


def padded(size: int, beat_bytes: int) -> int:
    """``size`` rounded up to a multiple of ``beat_bytes``."""
    return -(-size // beat_bytes) * beat_bytes


def pack_rows(values: NDArray[np.integer], width: int, row: int) -> NDArray[np.uint8]:
    """Integers ``[..., D]`` (two's complement or unsigned) to rows ``[..., row]`` of bytes, zero padded.

    Raises
    ------
    OperandError : a value does not fit ``width`` bits (signed or unsigned).
    """
    if values.size and (values.min() < -(1 << width - 1) or values.max() >= 1 << width):
        raise OperandError(
            f"plane values span {values.min()}..{values.max()}, which does not fit {width} bits; "
            "quantize first"
        )
    *lead, head_dim = values.shape
    elements = (values.astype(np.int32) & (1 << width) - 1).astype(np.float64).reshape(-1, _GROUP)
    # At most 48 bits, exact in float64: a product with powers of two sets four elements side by side.
    words = (elements @ _PLACES[width]).astype("<u8")
    payload = words.view(np.uint8).reshape(-1, 8)[:, : width // 2]
    rows = np.zeros((*lead, row), np.uint8)
    rows[..., : head_dim * width // 8] = payload.reshape(*lead, -1)
    return rows


def unpack_rows(rows: NDArray[np.uint8], width: int, head_dim: int, *, signed: bool) -> NDArray[np.int16]:
    """Rows ``[..., row]`` of bytes to integers ``[..., D]``; the inverse of :func:`pack_rows`."""
    *lead, _ = rows.shape
    payload = rows[..., : head_dim * width // 8].reshape(*lead, head_dim // _GROUP, width // 2)
    out = np.empty((*lead, head_dim // _GROUP, _GROUP), np.uint16)
    for i in range(_GROUP):
        byte, shift = divmod(i * width, 8)
        # Lift the element to the top of the word; what lies above it falls off.
        window = payload[..., byte].astype(np.uint16)
        if shift + width > 8:
            window |= payload[..., byte + 1].astype(np.uint16) << 8
        np.left_shift(window, 16 - width - shift, out=out[..., i])
    # Shifting down sign-extends, or not, all elements in one step.
    elements = out.view(np.int16) >> (16 - width) if signed else (out >> (16 - width)).view(np.int16)
    return elements.reshape(*lead, head_dim)


def split_planes(
    values: NDArray[np.integer], lsb_bits: int
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Integers to (MSB plane, LSB plane): ``values == (msb << lsb_bits) + lsb`` with ``lsb`` unsigned."""
    return values >> lsb_bits, values & ((1 << lsb_bits) - 1)
