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
    values : dict of expressions by the names of the answer, right 2 cycles after the last event.

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
        self.events = {name: Signal(name=name) for name in self.EVENTS}
        self.output_rows = Signal(ROWS_BITS)

        # # #

        shift = beat_shift(geometry)
        rows = {name: Signal(ROWS_BITS, name=f"rows_{name}") for name in PLANES}
        queries = Signal(ROWS_BITS)
        cycles = {name: Signal(COUNTER_BITS, name=f"cycles_{name}") for name in ("all", *self.EVENTS)}
        for number, name in enumerate(PLANES):
            self.sync += If(self.issued & (self.plane == number), rows[name].eq(rows[name] + self.rows))
        self.sync += [
            queries.eq(queries + self.query_row),
            self.output_rows.eq(self.output_rows + self.output_row),
            If(self.running, cycles["all"].eq(cycles["all"] + 1)),
            *[cycles[name].eq(cycles[name] + event) for name, event in self.events.items()],
            If(
                self.start,
                *[one.eq(0) for one in (*rows.values(), queries, self.output_rows, *cycles.values())],
            ),
        ]

        # Bytes: rows times beats, a register behind each product -------------------------------------
        def bytes_of(count, size):
            product = Signal(ROWS_BITS + len(size))
            self.sync += product.eq(count * size)
            return product << shift

        tokens = beats(geometry, fields["n_slots"], 4)
        heads = beats(geometry, fields["total_heads"], 8)
        lists = beats(geometry, fields["keep_tokens"], 2) + beats(geometry, fields["keep_heads"], 2)
        self.values = {
            "keys_fetched": rows["k_msb"],
            "values_fetched": rows["v_msb"],
            "read_q": bytes_of(queries, row_beats["q"]),
            **{f"read_{name}": bytes_of(rows[name], row_beats[name]) for name in PLANES},
            "read_importance": (Mux(fields["add_tokens"], tokens, 0) + Mux(fields["add_heads"], heads, 0))
            << shift,
            "read_control": fields["descriptor_bytes"],
            "written_output": bytes_of(self.output_rows, row_beats["output"]),
            "written_importance": (tokens + heads) << shift,
            "written_control": HEADER_BYTES + (lists << shift),
            "cycles": cycles["all"],
            **{name: cycles[name] for name in self.EVENTS},
        }
