# SPDX-License-Identifier: BSD-2-Clause
"""What a job's answer counts: rows and bytes by kind, busy and waiting cycles."""

from litex.gen import *
from migen import *

from spatten_drivers.job import HEADER_BYTES

from .checks import PLANES, beats
from .port import beat_shift

COUNTER_BITS = 40  # more beats or cycles than any job takes
ROWS_BITS = 25  # 16 heads x 1,024 queries x 1,024 keys, twice


class Counters(LiteXModule):
    """Counters of a job.

    Parameters
    ----------
    geometry : sizes of the core.

    Attributes
    ----------
    start : in, pulse: all counters to 0.
    fields, row_beats : in, header fields by name; beats of a row of each plane, of ``q`` and of ``output``.
    issued, plane, rows : in, pulse: rows of a plane (a number, by :data:`.checks.PLANES`) are fetched.
    query_rows : in, pulse: a query row is fetched. output_rows : in, rows written.
    running : in, a job runs: its cycles count.
    events : in, by name, what to count cycles of.
    values : dict of expressions by the names of the answer, right 3 cycles after the last event.

    Source: contract, section 8.
    """

    EVENTS = ("busy_qk", "busy_pv", "stall_read", "stall_write", "stall_softmax", "stall_topk")

    def __init__(self, geometry, fields, row_beats):
        self.start = Signal()
        self.issued = Signal()
        self.plane = Signal(max=len(PLANES))
        self.rows = Signal(16)
        self.query_row = Signal()
        self.output_row = Signal()
        self.running = Signal()
        self.events = {name: Signal(name=name, reset_less=True) for name in self.EVENTS}
        self.output_rows = Signal(ROWS_BITS)

        # # #

        shift = beat_shift(geometry)
        # `start` is what sets them to 0.
        rows = {name: self._counter(ROWS_BITS, f"rows_{name}") for name in ("k_msb", "v_msb")}
        traffic = {
            name: self._counter(ROWS_BITS + len(row_beats[name]), f"beats_{name}")
            for name in (*PLANES, "q", "output")
        }
        cycles = {name: self._counter(COUNTER_BITS, f"cycles_{name}") for name in ("all", *self.EVENTS)}
        for name, count in rows.items():
            number = PLANES.index(name)
            self.sync += If(self.issued & (self.plane == number), count.eq(count + self.rows))

        # One multiplier for the beats of all planes: rows are issued one order at a time -----------------
        size = Signal(max(len(row_beats[name]) for name in PLANES))
        ordered = Signal(len(self.rows) + len(size), reset_less=True)
        plane, counted = Signal.like(self.plane, reset_less=True), Signal()
        self.comb += Case(self.plane, {n: size.eq(row_beats[name]) for n, name in enumerate(PLANES)})
        self.sync += [ordered.eq(self.rows * size), plane.eq(self.plane), counted.eq(self.issued)]
        for number, name in enumerate(PLANES):
            self.sync += If(counted & (plane == number), traffic[name].eq(traffic[name] + ordered))
        for name, event in (("q", self.query_row), ("output", self.output_row)):
            self.sync += If(event, traffic[name].eq(traffic[name] + row_beats[name]))

        # Rows and cycles -----------------------------------------------------------------------------
        self.sync += [
            self.output_rows.eq(self.output_rows + self.output_row),
            If(self.running, cycles["all"].eq(cycles["all"] + 1)),
            *[cycles[name].eq(cycles[name] + event) for name, event in self.events.items()],
            If(
                self.start,
                *[one.eq(0) for one in (*rows.values(), *traffic.values(), *cycles.values())],
                self.output_rows.eq(0),
            ),
        ]

        # Answer --------------------------------------------------------------------------------------
        tokens = beats(geometry, fields["n_slots"], 4)
        heads = beats(geometry, fields["total_heads"], 8)
        lists = beats(geometry, fields["keep_tokens"], 2) + beats(geometry, fields["keep_heads"], 2)
        self.values = {
            "keys_fetched": rows["k_msb"],
            "values_fetched": rows["v_msb"],
            "read_q": traffic["q"] << shift,
            **{f"read_{name}": traffic[name] << shift for name in PLANES},
            "read_importance": (Mux(fields["add_tokens"], tokens, 0) + Mux(fields["add_heads"], heads, 0))
            << shift,
            "read_control": fields["descriptor_bytes"],
            "written_output": traffic["output"] << shift,
            "written_importance": (tokens + heads) << shift,
            "written_control": HEADER_BYTES + (lists << shift),
            "cycles": cycles["all"],
            **{name: cycles[name] for name in self.EVENTS},
        }

    @staticmethod
    def _counter(bits, name):
        return Signal(bits, name=name, reset_less=True)
