# SPDX-License-Identifier: BSD-2-Clause
"""Boards behind the link SpL or LiteX's bridges: Etherbone, a UART, ``litex_server``."""

from .device import LitexDevice
from .opening import check_uri, open_uri, probe

__all__ = ["LitexDevice", "check_uri", "open_uri", "probe"]
