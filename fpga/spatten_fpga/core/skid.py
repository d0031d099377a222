# SPDX-License-Identifier: BSD-2-Clause
"""Where a chain of ready ends."""

from litex.soc.interconnect import stream


def skid(layout) -> stream.Buffer:
    """A register behind ``ready``, and a place for the token that comes while it says no.

    Tokens pass in no time while the source takes them. What makes them sees a ready that comes from a
    register, so that many enables do not hang on what happens far ahead.
    """
    return stream.Buffer(layout, pipe_valid=False, pipe_ready=True)
