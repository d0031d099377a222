# SPDX-License-Identifier: BSD-2-Clause
"""Boards: one module each, run as ``python3 -m spatten_fpga.targets.<board> --build``."""

from __future__ import annotations

import importlib

from spatten_drivers.errors import ConfigError

#: Names of boards, which are those of modules here and of folders of bitstreams.
NAMES = ("ecpix5", "butterstick", "orangecrab", "ulx3s", "colorlight_i5", "colorlight_i9")


def find(name: str):
    """The :class:`.board.Board` of a name; reads its pins, so it needs LiteX.

    Raises
    ------
    ConfigError : there is no such board.
    """
    if name not in NAMES:
        raise ConfigError(f"board is {name!r}; expected one of {', '.join(NAMES)}")
    return importlib.import_module(f"{__package__}.{name}").BOARD
