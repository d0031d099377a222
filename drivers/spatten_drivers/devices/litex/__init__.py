# SPDX-License-Identifier: BSD-2-Clause
"""Boards behind the link SpL or LiteX's bridges: Etherbone, a UART, ``litex_server``."""

from .device import LitexDevice
from .opening import open_uri, probe

__all__ = ["LitexDevice", "open_uri", "probe"]
