# SPDX-License-Identifier: BSD-2-Clause
"""Rules of streams, of queues and of progress, small enough to be read and proven."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from litex.gen import LiteXModule
from litex.soc.interconnect.stream import Endpoint
from migen import Array, Cat, If, Mux, Signal


def fields_of(endpoint: Endpoint, names: Iterable[str] | None = None) -> dict[str, Signal]:
    """Fields of a token by name, ``last`` among them; all but ``first``, or those named."""
    layouts = (
        (endpoint.payload, endpoint.description.payload_layout),
        (
            endpoint.param,
            endpoint.description.param_layout,
        ),
    )
    known = {item[0]: getattr(record, item[0]) for record, layout in layouts for item in layout}
    known["last"] = endpoint.last
    return known if names is None else {name: known[name] for name in names}


def token_of(fields: Mapping[str, Signal]):
    """All bits of a token."""
    return Cat(*fields.values())


class StreamRule(LiteXModule):
    """A token that was offered and not taken stays, unchanged.

    Attributes
    ----------
    ok : the rule holds in this cycle.
    """

    def __init__(self, endpoint: Endpoint, fields: Mapping[str, Signal]) -> None:
        self.ok = Signal()

        # # #

        token = Signal(sum(map(len, fields.values())) + 1)
        before, refused = Signal(len(token), reset_less=True), Signal()
        self.comb += [
            token.eq(Cat(endpoint.valid, *fields.values())),
            self.ok.eq(~refused | (token == before)),
        ]
        self.sync += [before.eq(token), refused.eq(endpoint.valid & ~endpoint.ready)]


class Order(LiteXModule):
    """What goes in comes out: in order, nothing lost, nothing twice, nothing invented.

    Of all items that ever enter one is picked, freely. It must leave, as it entered, exactly when all that
    entered before it have left. As any item may be picked, this holds for all of them. A loss or a repeat
    shows in the items behind it.

    Parameters
    ----------
    width : bits of an item.
    most_in, most_out : items that can enter, leave, in a cycle.
    capacity : most items that can be inside.

    Attributes
    ----------
    put, get : in, items that enter, that leave, in this cycle.
    entering, leaving : in, the items, oldest first.
    inside : out, items inside at the start of the cycle.
    """

    def __init__(self, width: int, capacity: int, most_in: int = 1, most_out: int = 1) -> None:
        self.put, self.get = Signal(max=most_in + 1), Signal(max=most_out + 1)
        self.entering = [Signal(width) for _ in range(most_in)]
        self.leaving = [Signal(width) for _ in range(most_out)]
        self.inside = inside = Signal(max=capacity + 1)

        # # #

        pick, which = Signal(), Signal(max=max(2, most_in))
        watching, ahead, item = Signal(), Signal.like(inside), Signal(width)
        picked, place, value = Signal(), Signal(max=capacity + most_in + 1), Signal(width)
        leaves, same = Signal(), Signal()
        total = Signal(max=capacity + most_in + 1)
        self.comb += [
            picked.eq(pick & ~watching & (which < self.put)),
            place.eq(Mux(watching, ahead, inside + which)),
            value.eq(Mux(watching, item, Array(self.entering)[which])),
            leaves.eq((watching | picked) & (place < self.get)),
            same.eq(Array(self.leaving)[place] == value),
            total.eq(inside + self.put),
        ]
        self.sync += [
            inside.eq(total - self.get),
            watching.eq((watching | picked) & ~leaves),
            ahead.eq(place - self.get),
            item.eq(value),
        ]
        self.free = [pick, which]
        self.conditions = {
            "in_order": ~leaves | same,
            "none_invented": self.get <= total,
            "bounded": total - self.get <= capacity,
        }


class Progress(LiteXModule):
    """While something is to be done and the surroundings help, something happens within a number of cycles.

    Parameters
    ----------
    within : cycles.
    waits : something is to be done.
    moves : something happens.
    helped : the surroundings do what they can; a cycle in which they do not starts the count anew.
    """

    def __init__(self, within: int, waits, moves, helped=1) -> None:
        idle = Signal(max=within + 1)

        # # #

        stuck = Signal()
        self.comb += stuck.eq(waits & helped & ~moves)
        self.sync += If(stuck, If(idle != within, idle.eq(idle + 1))).Else(idle.eq(0))
        self.free: list[Signal] = []
        self.conditions = {"": ~stuck | (idle < within - 1)}


class Ledger(LiteXModule):
    """A queue in the open: what is inside a unit, oldest first, for rules that need more than the order.

    Parameters
    ----------
    width : bits of an item.
    depth : most items inside.

    Attributes
    ----------
    put, item : in, an item enters.
    get : in, the oldest item leaves.
    oldest, any : out, the oldest item, and if there is one.
    count : out, items inside.
    """

    def __init__(self, width: int, depth: int) -> None:
        self.put, self.get, self.item = Signal(), Signal(), Signal(width)
        self.oldest, self.any, self.count = Signal(width), Signal(), Signal(max=depth + 1)

        # # #

        items = [Signal(width, reset_less=True) for _ in range(depth)]
        end = Signal(max=depth + 1)
        self.comb += [
            self.any.eq(self.count != 0),
            self.oldest.eq(items[0]),
            end.eq(self.count - self.get),
        ]
        self.sync += self.count.eq(end + self.put)
        for place, item in enumerate(items):
            following = items[place + 1] if place + 1 < depth else item
            self.sync += If(self.put & (end == place), item.eq(self.item)).Elif(self.get, item.eq(following))
        self.free: list[Signal] = []
        self.conditions = {
            "none_invented": ~self.get | self.any,
            "bounded": ~(self.put & (end == depth)),
        }
