# SPDX-License-Identifier: BSD-2-Clause
"""What numba's compiler has to be told in LLVM's own words: eight packed elements as a vector, prefetches.

Of a plain loop over packed elements it makes loads of single bytes, which take three times as long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import lowered_by

LANES = 8


def places_of(width: int) -> list[tuple[int, int]]:
    """Where eight elements begin in their ``width`` bytes: byte and bit."""
    return [divmod(lane * width, 8) for lane in range(LANES)]


def _lower_unpack(
    _typing: Any, width: Any, memory: Any, address: Any, flip: Any, factor: Any, base: Any, out: Any, at: Any
) -> Any:
    from llvmlite import ir
    from numba import types

    bits, short = width.literal_value, types.int16
    halves, number = ir.VectorType(ir.IntType(16), LANES), ir.IntType(32)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, memory_at, address, flip, factor, base, out_at, at = arguments

        def pointer(array_type: Any, array: Any, index: Any, vector: Any) -> Any:
            data = context.make_array(array_type)(context, builder, array).data
            return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())

        def picked(vector: Any, lanes: list[int]) -> Any:
            return builder.shuffle_vector(
                vector, vector, ir.Constant(ir.VectorType(number, len(lanes)), lanes)
            )

        def everywhere(value: Any) -> Any:
            return picked(
                builder.insert_element(ir.Constant(halves, ir.Undefined), value, number(0)), [0] * LANES
            )

        packed = builder.load(
            pointer(memory, memory_at, address, ir.VectorType(ir.IntType(8), bits)), align=1
        )
        # An element lies within two bytes; of one that lies within one the second does not count.
        bytes_of = [min(byte + k, bits - 1) for byte, _ in places_of(bits) for k in (0, 1)]
        lanes = builder.bitcast(picked(packed, bytes_of), halves)
        # Up to the top by a product and down again: vectors shift all lanes alike.
        up = ir.Constant(halves, [1 << 16 - bits - bit for _, bit in places_of(bits)])
        lanes = builder.lshr(builder.mul(lanes, up), ir.Constant(halves, [16 - bits] * LANES))
        lanes = builder.xor(lanes, everywhere(flip))
        lanes = builder.add(builder.mul(lanes, everywhere(factor)), everywhere(base))
        if isinstance(out.dtype, types.Float):
            lanes = builder.sitofp(lanes, ir.VectorType(context.get_data_type(out.dtype), LANES))
        builder.store(lanes, pointer(out, out_at, at, lanes.type), align=out.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(width, memory, types.intp, short, short, short, out, types.intp), code


@lowered_by(_lower_unpack)
def unpack_eight(
    width: int, memory: NDArray[np.uint8], address: int, flip: Any, factor: Any, base: Any, out: Any, at: int
) -> None:
    """``out[at : at + 8]`` from the ``width`` bytes at ``address``.

    An element is ``(bits ^ flip) * factor + base``, of which 16 bits count, in two's complement.
    """
    for lane, (byte, bit) in enumerate(places_of(width)):
        pair = memory[address + byte : address + min(byte + 2, width)].tobytes()
        bits = int.from_bytes(pair, "little") >> bit & (1 << width) - 1
        element = (bits ^ int(flip)) * int(factor) + int(base)
        out[at + lane] = (element + (1 << 15)) % (1 << 16) - (1 << 15)


def _lower_prefetch(_typing: Any, memory: Any, address: Any) -> Any:
    from llvmlite import ir
    from numba import types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data, number = context.make_array(memory)(context, builder, arguments[0]).data, ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [data.type, number, number, number])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [data.type], kind)
        read, keep, of_data = number(0), number(3), number(1)
        builder.call(hint, [builder.gep(data, [arguments[1]]), read, keep, of_data])
        return context.get_dummy_value()

    return types.void(memory, types.intp), code


@lowered_by(_lower_prefetch)
def prefetch(memory: NDArray[np.uint8], address: int) -> None:
    """Ask for the cache line of a byte that is read soon; it may lie outside of memory."""
