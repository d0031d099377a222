# SPDX-License-Identifier: BSD-2-Clause
"""What can go wrong on the link, as the client tells it."""

from __future__ import annotations

from ..errors import LinkError

__all__ = ["LinkBusyError", "LinkError", "SessionLostError"]


class SessionLostError(LinkError):
    """The device was reset, or another program opened a session: what it holds is not what was left there."""


class LinkBusyError(LinkError):
    """Another program talks to the device; the message says from where."""
