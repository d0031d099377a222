# SPDX-License-Identifier: BSD-2-Clause
"""What can go wrong on a stream, put behind a sound one: a proof that still passes then proves nothing."""

from __future__ import annotations

from collections.abc import Mapping

from litex.gen import LiteXModule
from litex.soc.interconnect.stream import Endpoint
from migen import If, Signal

#: Wrongs that are not bound to a field.
KINDS = ("withdraws", "loses", "doubles", "stops")


class Saboteur(LiteXModule):
    """Passes a stream on and does it wrong once.

    Parameters
    ----------
    sink : the sound stream.
    fields : its fields.
    kind : ``withdraws`` a token that was refused; ``loses`` a token; ``doubles`` one; ``stops`` for ever;
        ``changes.FIELD`` of a refused token; ``corrupts.FIELD`` of a token for as long as it is there.

    Attributes
    ----------
    now : in, the wrong happens in this cycle, if it did not before.
    source : out, the stream that others see.
    """

    def __init__(self, sink: Endpoint, fields: Mapping[str, Signal], kind: str) -> None:
        self.now = Signal()
        self.source = source = Endpoint(sink.description)

        # # #

        what, _, field = kind.partition(".")
        refused, done, acts = Signal(), Signal(), Signal()
        fresh = sink.valid & ~refused & ~done
        self.comb += [sink.connect(source, omit={"valid", "ready", *([field] if field else [])})]
        if field:
            payload = dict(zip(fields, fields.values(), strict=True))[field]
            wrong = Signal()
            self.comb += _field(source, field).eq(payload ^ wrong)
        straight = [source.valid.eq(sink.valid), sink.ready.eq(source.ready)]
        self.sync += refused.eq(source.valid & ~source.ready)
        if what == "withdraws":
            self.comb += [
                acts.eq(self.now & refused & ~done),
                *straight,
                If(acts, source.valid.eq(0), sink.ready.eq(0)),
            ]
        elif what == "loses":
            self.comb += [
                acts.eq(self.now & fresh),
                *straight,
                If(acts, source.valid.eq(0), sink.ready.eq(1)),
            ]
        elif what == "doubles":
            self.comb += [acts.eq(self.now & fresh & source.ready), *straight, If(acts, sink.ready.eq(0))]
        elif what == "stops":
            self.comb += [
                acts.eq(self.now & fresh),
                *straight,
                If(acts | done, source.valid.eq(0), sink.ready.eq(0)),
            ]
        elif what == "changes":
            self.comb += [acts.eq(self.now & refused & ~done & sink.valid), *straight, wrong.eq(acts)]
        elif what == "corrupts":
            held = Signal()
            self.comb += [acts.eq(self.now & fresh), *straight, wrong.eq(acts | held)]
            self.sync += held.eq((acts | held) & ~(source.valid & source.ready))
        else:
            raise ValueError(f"no such wrong: {kind}")
        self.sync += If(acts, done.eq(1))


def _field(endpoint: Endpoint, name: str) -> Signal:
    return endpoint.last if name == "last" else getattr(endpoint, name)
