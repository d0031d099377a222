# SPDX-License-Identifier: BSD-2-Clause
"""A stream with several readers."""

from litex.gen import *
from litex.soc.interconnect import stream
from migen import *


class Fork(LiteXModule):
    """One stream to several sinks, each at its own pace; a token goes when all have it.

    Attributes
    ----------
    sink : in.
    sources : out, one for each branch.
    """

    def __init__(self, layout, branches):
        self.sink = sink = stream.Endpoint(layout)
        self.sources = [stream.Endpoint(layout) for _ in range(branches)]

        # # #

        done = Signal(branches)  # branches that have this token
        gone = Signal(branches)
        for number, source in enumerate(self.sources):
            self.comb += [
                sink.connect(source, omit={"valid", "ready"}),
                source.valid.eq(sink.valid & ~done[number]),
                gone[number].eq(done[number] | source.ready),
            ]
        self.comb += sink.ready.eq(gone == (1 << branches) - 1)
        self.sync += If(sink.valid & ~sink.ready, done.eq(gone)).Else(done.eq(0))
