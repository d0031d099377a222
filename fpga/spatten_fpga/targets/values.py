# SPDX-License-Identifier: BSD-2-Clause
"""Values of the targets' options: what no build could use is refused while the command line is read."""

from __future__ import annotations

import ipaddress
import math
from argparse import ArgumentTypeError
from collections.abc import Callable

from spatten_fpga.soc.etherbone import IP_ADDRESS, MAC_ADDRESS


def within(kind: type[int] | type[float], least: float, most: float) -> Callable[[str], float]:
    """A type of argparse: a number of a kind from ``least`` to ``most``, which nan is not."""
    words = "a whole number" if kind is int else "a number"

    def value(text: str) -> float:
        try:
            found = kind(text)
        except ValueError:
            found = math.nan
        if not least <= found <= most:
            raise ArgumentTypeError(f"{text!r} given, expected {words} from {least:.0f} to {most:.0f}")
        return found

    return value


def ip_address(text: str) -> str:
    """A type of argparse: an address of IPv4 in four parts."""
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} given, expected an IPv4 address such as {IP_ADDRESS}") from error


def mac_address(text: str) -> int:
    """A type of argparse: the 48 bits of one station's address."""
    try:
        found = int(text, 0)
    except ValueError:
        found = 0
    is_group = found >> 40 & 1
    if not 0 < found < 1 << 48 or is_group:
        raise ArgumentTypeError(
            f"{text!r} given, expected the 48 bits of one station's MAC address such as {MAC_ADDRESS:#014x}"
        )
    return found
