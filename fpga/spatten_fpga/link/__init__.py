# SPDX-License-Identifier: BSD-2-Clause
"""The device's end of the link SpL (``docs/link.md``)."""

from .endpoint import LinkEndpoint, LinkSettings

__all__ = ["LinkEndpoint", "LinkSettings"]
