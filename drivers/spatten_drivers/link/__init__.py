# SPDX-License-Identifier: BSD-2-Clause
"""The link SpL: packets that are checked, numbered and answered (``docs/link.md``)."""

from .client import LinkClient, Patience
from .errors import LinkBusyError, LinkError, SessionLostError
from .faults import FaultRates, FaultyTransport
from .format import Operation, Packet, Status
from .serial import SerialTransport
from .transport import LoopTransport, Transport, UdpTransport

__all__ = [
    "FaultRates",
    "FaultyTransport",
    "LinkBusyError",
    "LinkClient",
    "LinkError",
    "LoopTransport",
    "Operation",
    "Packet",
    "Patience",
    "SerialTransport",
    "SessionLostError",
    "Status",
    "Transport",
    "UdpTransport",
]
