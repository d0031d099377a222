# SPDX-License-Identifier: BSD-2-Clause
"""Sizes of memory as people write them."""

from __future__ import annotations

from .errors import ConfigError

_UNITS = {"KiB": 10, "MiB": 20, "GiB": 30}


def bytes_of(text: str) -> int:
    """Bytes of a size such as ``64MiB``.

    Raises
    ------
    ConfigError : it is none, or more than 32-bit addresses reach.
    """
    number, unit = (text[:-3], text[-3:]) if isinstance(text, str) else ("", "")
    legal = unit in _UNITS and number.isascii() and number.isdigit()
    if not legal or not 0 < int(number) << _UNITS[unit] < 1 << 32:
        raise ConfigError(f"memory is {text!r}; expected a size below 4GiB such as 64MiB or 1GiB")
    return int(number) << _UNITS[unit]
