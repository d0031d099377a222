# SPDX-License-Identifier: BSD-2-Clause
"""What block RAM does when a cell is read while it is written: anything. In simulation, wrong bits."""

from __future__ import annotations

import re

from spatten_drivers.errors import SpattenError
from spatten_fpga.core.ram import NO_COLLISION


def spoil_collisions(verilog: str) -> str:
    """The text with wrong bits read from each memory marked with ``NO_COLLISION`` while the cell is written.

    Raises
    ------
    SpattenError : a marked memory is not of the form that LiteX gives memories with ports in READ_FIRST mode.
    """
    pattern = rf"\(\* {NO_COLLISION} = 1 \*\)\s*(?://[^\n]*\n)*\s*reg \[\d+:0\] (\w+)\["
    for name in re.findall(pattern, verilog):
        verilog = _spoil(verilog, name)
    return verilog


def _spoil(verilog: str, name: str) -> str:
    writes = re.findall(rf"if \((\w+)\)\s*{name}\[(\w+)\] <= \w+;", verilog)
    reads = re.findall(rf"\b\w+ <= {name}\[\w+\];", verilog)
    if len(writes) != 1 or not reads:
        raise SpattenError(
            f"memory {name} is marked {NO_COLLISION} and has {len(writes)} plain writes and {len(reads)} "
            "synchronous reads; expected one write of whole words and at least one read, all READ_FIRST"
        )
    enable, place = writes[0]

    def wrong(found: re.Match[str]) -> str:
        there = found["place"]
        return f"{found['data']} <= {name}[{there}] ^ {{$bits({name}[0]){{{enable} && {place} == {there}}}}};"

    return re.sub(rf"\b(?P<data>\w+) <= {name}\[(?P<place>\w+)\];", wrong, verilog)
