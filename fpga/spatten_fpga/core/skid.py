# SPDX-License-Identifier: BSD-2-Clause
"""Where a chain of ready ends."""

from litex.gen import *
from litex.soc.interconnect.stream import Endpoint


class Skid(LiteXModule):
    """A register behind ``ready``, and a place for the token that comes while it says no.

    Tokens pass in no time while the source takes them. What makes them sees a ready that comes from a
    register, so that many enables do not hang on what happens far ahead. Nor do those of the place itself:
    it keeps whatever comes, in case it is refused. LiteX's ``PipeReady`` looks first, and a word of operands
    would hang on the end of the chain.

    Attributes
    ----------
    sink, source : of ``layout``; a token a cycle.
    """

    def __init__(self, layout) -> None:
        self.sink = sink = Endpoint(layout)
        self.source = source = Endpoint(layout)

        # # #

        held, full = Endpoint(layout), Signal()
        self.comb += [
            sink.ready.eq(~full),
            If(full, held.connect(source, omit={"valid", "ready"})).Else(
                sink.connect(source, omit={"valid", "ready"})
            ),
            source.valid.eq(sink.valid | full),
        ]
        self.sync += [
            full.eq(source.valid & ~source.ready),
            If(
                ~full,
                held.payload.eq(sink.payload),
                held.param.eq(sink.param),
                held.first.eq(sink.first),
                held.last.eq(sink.last),
            ),
        ]
