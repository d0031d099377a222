# SPDX-License-Identifier: BSD-2-Clause
"""What can go wrong on the link, as the client tells it."""

from __future__ import annotations

from .. import errors


class LinkError(errors.LinkError):
    """The link gave no answer, or the device refused a request.

    Attributes
    ----------
    tries : how often the request was sent.
    status : of the device's answer, ``None`` if there was none.
    address : that the answer names.
    """

    def __init__(
        self, message: str, tries: int = 1, status: int | None = None, address: int | None = None
    ) -> None:
        super().__init__(message)
        self.tries = tries
        self.status = status
        self.address = address


class SessionLostError(LinkError):
    """The device was reset, or another program opened a session: what it holds is not what was left there."""


class LinkBusyError(LinkError):
    """Another program talks to the device; the message says from where."""
