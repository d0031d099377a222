# SPDX-License-Identifier: BSD-2-Clause
"""Functional points: what must have happened in the core for a test run to have seen it all.

A point is an expression over the core's signals. It is hit by a job in which it was once true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from operator import or_
from typing import Any

from litex.gen import LiteXModule
from migen import Cat, Mux, Signal
from migen.fhdl.structure import _Fragment

from spatten_drivers.answer import Status
from spatten_drivers.config import AcceleratorConfig
from spatten_drivers.planes import MSB_WIDTHS
from spatten_fpga.core.descriptor import SLOT_BITS
from spatten_fpga.core.finish_tokens import PROTECTED
from spatten_fpga.core.rows import SLOTS
from spatten_fpga.sim.units import drivers, lowered, spread

from .core_bench import NEVER, CoreBench, TimedCore

Expression = Any
PACKAGE = "spatten_fpga.core"
IMPORTANCE, HEAD_IMPORTANCE, WEIGHT = (1 << 32) - 1, (1 << 48) - 1, (1 << 16) - 1
ONE = 65535  # sum of a row that one key carries


@dataclass(frozen=True)
class Point:
    """A name, what it shows, and when it is so."""

    name: str
    shows: str
    seen: Expression


def moved(endpoint: Any) -> Expression:
    """A token passes."""
    return endpoint.valid & endpoint.ready


def waits(endpoint: Any) -> Expression:
    """A token is on offer and is not taken."""
    return endpoint.valid & ~endpoint.ready


def several(bits: list[Expression]) -> Expression:
    """At least two at once."""
    return reduce(or_, (one & other for one, other in combinations(bits, 2)))


# Points -------------------------------------------------------------------------------------------


def formats(core: TimedCore) -> list[Point]:
    engine, f = core.engine, core.engine.fields
    run = engine.fsm.ongoing("RUN")
    dims = core.engine.geometry.config.head_dims
    return [
        *(Point(f"D = {dim}", "head dimension", run & (f["head_dim"] == dim)) for dim in dims),
        *(
            Point(f"{name} of {bits} bits", "format of an operand's MSB plane", run & (f[field] == bits))
            for name, field in (("Q", "q_bits"), ("K", "k_msb_bits"), ("V", "v_msb_bits"))
            for bits in MSB_WIDTHS
        ),
        *(
            Point(f"{name} {with_} LSB plane", "planes of an operand", run & ((f[field] != 0) == on))
            for name, field in (("K", "k_lsb_bits"), ("V", "v_lsb_bits"))
            for with_, on in (("with", 1), ("without", 0))
        ),
        *(
            Point(
                f"K policy {value}",
                "0 MSB only, 1 both planes, 2 decided row by row, 3 key by key",
                run & here,
            )
            for value in range(4)
            for here in [(f["k_policy"] == value) & (f["k_lsb_bits"] != 0)]
        ),
        *(
            Point(f"V policy {value}", "0 MSB plane only, 1 both planes, 2 as K", run & here)
            for value in range(3)
            for here in [(f["v_policy"] == value) & (f["v_lsb_bits"] != 0)]
        ),
    ]


def settings(core: TimedCore) -> list[Point]:
    engine, f = core.engine, core.engine.fields
    config, run = engine.geometry.config, engine.fsm.ongoing("RUN")
    keys, heads = f["n_keys"], f["n_heads"]
    progressive = run & (f["k_policy"] == 2)
    reuse = engine.rows.reuse
    pair = engine.descriptor.keys
    table = [
        ("one of each", "one key, one query, one head", (keys == 1) & (f["n_queries"] == 1) & (heads == 1)),
        ("one live head", "all heads but one are pruned", (heads == 1) & (f["total_heads"] > 1)),
        ("longest sequence", "as many keys as the core takes", keys == config.max_sequence),
        ("pruned slots", "the key list has gaps", keys < f["n_slots"]),
        ("causal", "rows see a growing prefix of the keys", f["causal"]),
        ("not causal", "rows see all keys", ~f["causal"]),
        ("reuse", "K and V of a head stay on chip for its queries", reuse),
        ("stream, long", "too many keys for the buffers", ~reuse & (f["n_queries"] > 1)),
        ("stream, one query", "nothing to reuse", ~reuse & (f["n_queries"] == 1)),
        ("one head on chip", "the buffers hold one head", reuse & (keys > config.kv_buffer_rows // 2)),
        ("two heads on chip", "the next head's words have a place", engine.control.odd_base != 0),
        ("token importance adds up", "old importance is read", f["add_tokens"]),
        ("token importance starts", "old importance is 0", ~f["add_tokens"]),
        ("head importance adds up", "old importance is read", f["add_heads"]),
        ("head importance starts", "old importance is 0", ~f["add_heads"]),
        ("decay 0", "old importance is forgotten", f["add_tokens"] & (f["decay"] == 0)),
        ("decay 1", "old importance stays", f["add_tokens"] & (f["decay"] == 65536)),
        ("keep one token", "the harshest pruning", (f["keep_tokens"] == 1) & (keys > 1)),
        ("keep all tokens", "no token is pruned", (f["keep_tokens"] == keys) & (keys > 1)),
        ("keep one head", "the harshest pruning", (f["keep_heads"] == 1) & (heads > 1)),
        ("keep all heads", "no head is pruned", (f["keep_heads"] == heads) & (heads > 1)),
    ]
    return [
        *(Point(name, shows, run & seen) for name, shows, seen in table),
        Point("threshold 0", "no row refetches", progressive & (f["refetch_limit"] == NEVER)),
        Point("threshold 1", "only a row of one key is certain", progressive & (f["refetch_limit"] == ONE)),
        Point("every row refetches", "refetch_limit 0", progressive & (f["refetch_limit"] == 0)),
        Point(
            "protected key",
            "survives whatever its importance",
            moved(pair) & (pair.slots[PROTECTED] | (pair.both & pair.slots[SLOT_BITS + PROTECTED])),
        ),
    ]


def endings(core: TimedCore) -> list[Point]:
    memory, ends, engine = core.memory, core.ends, core.engine
    by_force = core.fsm.ongoing
    late = moved(memory.data) & ~engine.memory.data.valid
    return [
        *(
            Point(f"ends {status.name}", "status of a job", moved(ends) & (ends.status == status))
            for status in Status
            if status != Status.PENDING
        ),
        *(
            Point(
                f"aborted in {state}",
                "state of the sequencer",
                core.abort & by_force("ENGINE") & engine.fsm.ongoing(state),
            )
            for state in core.force.states
        ),
        Point("stopped, answered", "a job that was stopped has an answer header", by_force("ANSWER")),
        Point(
            "stopped, no answer",
            "its descriptor had not told where",
            by_force("SETTLE") & core.fsm.before_entering("END"),
        ),
        Point(
            "stopped, answer given up",
            "memory takes no writes",
            by_force("ANSWER") & core.fsm.before_entering("END") & waits(core.writes.source),
        ),
        Point(
            "stopped with writes pending",
            "what memory was given is waited for",
            by_force("SETTLE") & engine.memory.writes_pending,
        ),
        Point(
            "late data between jobs", "what memory owed a stopped job is dropped", late & ~by_force("ENGINE")
        ),
        Point(
            "late data in the next job",
            "the same, when the next job runs",
            late & by_force("ENGINE") & ~engine.fsm.ongoing("IDLE"),
        ),
        Point("end waits", "nobody took the end of a job yet", waits(ends)),
        Point("job waits", "a job is on offer while another runs", waits(core.jobs)),
    ]


def fetching(core: TimedCore) -> list[Point]:
    engine = core.engine
    control, memory = engine.control, core.memory
    shows = {
        "QUERY": "a query row",
        "KEYS": "keys of one row, from memory",
        "VALUES": "kept values of one row, from memory",
        "VALUES-LSB": "their LSB plane",
        "LOAD-KEYS": "keys of a head, to stay",
        "LOAD-KEYS-LSB": "their LSB plane, always needed",
        "LOAD-VALUES": "values of a head, to stay",
        "LOAD-VALUES-LSB": "their LSB plane, always needed",
        "REFETCH-KEYS": "the LSB plane of a head's keys, for an unsure row",
        "REFETCH-VALUES": "that of its values",
    }
    busy = engine.scores.busy
    return [
        *(
            Point(f"fetch {s}", text, control.fsm.ongoing(s) & moved(control.command.sink))
            for s, text in shows.items()
        ),
        Point(
            "K ahead", "the next head loads while this one computes", control.fsm.ongoing("LOAD-KEYS") & busy
        ),
        Point(
            "V midpoint",
            "values without their LSB plane get its middle",
            moved(control.source) & control.source.midpoint,
        ),
        Point("command waits", "memory takes no command", waits(memory.command)),
        Point("write waits", "memory takes no write", waits(memory.write)),
        Point("data waits", "the core takes no data", waits(memory.data)),
        Point(
            "reads at once",
            "two clients ask for memory",
            several([c.command.valid for c in engine.reads.clients]),
        ),
        Point(
            "writes at once", "two clients write to memory", several([s.valid for s in engine.writes.sinks])
        ),
        Point(
            "read beside write",
            "the port's streams move together",
            moved(memory.command) & moved(memory.write),
        ),
    ]


def pipeline(core: TimedCore) -> list[Point]:
    engine = core.engine
    rows, scores, values, softmax = engine.rows, engine.scores, engine.values, engine.softmax
    unsure = moved(rows.waiting.sink)
    pick, picked = softmax.pick, softmax.pick.source.picked
    told = moved(pick.source) & pick.fsm.ongoing("TELL")
    none = pick.swept & (pick.picked == 0) & ~pick.index.valid
    above = Cat(*(one[-1] for one in softmax.scores.differences)) != 0
    events = engine.counters.events
    causes = {
        "stall_read": "a row or an array waits for what memory gives",
        "stall_write": "outputs wait for the write stream",
        "stall_softmax": "all rows in flight wait for the softmax",
        "stall_topk": "all rows in flight wait for the top-k engine",
    }
    keys, full, tail = rows.passes.words, rows.passes.full, rows.passes.tail
    return [
        Point("all slots taken", f"{SLOTS} rows in flight", rows.flying == SLOTS),
        Point("row unsure, on chip", "its LSBs come for the whole head", unsure & engine.rows.reuse),
        Point("row unsure, from memory", "its LSBs come for this row", unsure & ~engine.rows.reuse),
        Point(
            "row waits, next scores", "while LSBs arrive the next row goes on", rows.lsb_needed & scores.busy
        ),
        Point("two rows unsure", "rows wait for the same LSBs", rows.waiting.level > 1),
        Point("second pass", "the LSB plane adds to scores", moved(rows.passes) & rows.passes.add),
        Point("no key picked", "a row is done after its first pass", none),
        Point("one key picked", "of several", told & (picked == 1) & (pick.source.keys > 1)),
        Point("all keys picked", "of several", told & (picked == pick.source.keys) & (picked > 1)),
        Point("places wait", "those of the rows before fill their queue", waits(pick.index)),
        Point("overtaken", "a key is above all that refetched", moved(softmax.scores.source) & above),
        Point(
            "rank waits for a pick", "both read weights", softmax.reads.ongoing("PICK") & softmax.read.valid
        ),
        Point("row held", "a second pass may come before it", rows.row_near & rows.held),
        Point(
            "retires behind an unsure row",
            "rows leave in order while one waits",
            rows.queries_used & rows.waiting.source.valid,
        ),
        Point("both arrays busy", "Q x K of a row beside prob x V of another", scores.busy & values.busy),
        Point(
            "top-k beside scores", "ranking hides behind the array", moved(softmax.topk.sink) & scores.busy
        ),
        Point("two keys a word", "lanes are more than the head dimension", scores.busy & (scores.keys == 2)),
        Point("last word in part", "keys do not fill their words", moved(rows.passes) & (tail != full)),
        Point("several words a pass", "keys fill more than a word", moved(rows.passes) & (keys > 1)),
        *(Point(name.replace("_", " "), text, events[name]) for name, text in causes.items()),
    ]


def numbers(core: TimedCore) -> list[Point]:
    engine = core.engine
    ranked, read = engine.softmax.topk.source, engine.softmax.read
    marker, weights = engine.softmax.topk.marker, engine.softmax.exps.source
    lanes = range(engine.geometry.config.topk_parallelism)
    equal = [ranked.values[16 * i : 16 * i + 16] == marker.sink.threshold for i in lanes]
    kept = moved(ranked) & ~ranked.last
    tie = [
        Cat(*(e & (ranked.keep[i] == on) for i, e in zip(lanes, equal, strict=True))) != 0 for on in (0, 1)
    ]
    update, heads = engine.tokens.walk.source, engine.heads.arithmetic
    total, output = engine.rows.summed, engine.values.outputs
    old = engine.heads.reader.source
    return [
        Point("values, k = 1", "one value of a row is kept", moved(read) & (read.k == 1) & (read.keys > 1)),
        Point(
            "values, k = n",
            "all values of a row are kept",
            moved(read) & (read.k == read.keys) & (read.keys > 1),
        ),
        Point(
            "values pruned",
            "some values of a row are dropped",
            moved(read) & (read.k > 1) & (read.k < read.keys),
        ),
        Point("tie at the boundary", "of equal weights one is kept and one is not", kept & tie[0] & tie[1]),
        Point("weight 0", "a key is too far from the best", moved(weights) & (weights.weights[:16] == 0)),
        Point("weight 65535", "the best key", moved(weights) & (weights.weights[:16] == WEIGHT)),
        Point("sum of one key", "a row is certain", moved(total) & (total.sum == ONE)),
        Point("largest sum", "1,024 keys of weight 65535", moved(total) & (total.sum == 1024 * ONE)),
        Point("output most negative", "-32768", moved(output) & (output.outputs[:16] == 1 << 15)),
        Point("output largest", "32767", moved(output) & (output.outputs[:16] == (1 << 15) - 1)),
        Point(
            "token importance saturates", "2^32 - 1", moved(update) & update.live & (update.new == IMPORTANCE)
        ),
        Point("token importance stays", "a slot that is no key", moved(update) & ~update.live),
        Point(
            "head importance saturates",
            "2^48 - 1",
            moved(heads.source) & (heads.source.new == HEAD_IMPORTANCE),
        ),
        Point(
            "head importance too large", "memory holds more than 48 bits", moved(old) & (old.data[48:] != 0)
        ),
    ]


GROUPS: dict[str, Callable[[TimedCore], list[Point]]] = {
    "Number formats": formats,
    "Jobs": settings,
    "How jobs end": endings,
    "Fetching": fetching,
    "Pipeline": pipeline,
    "Numbers": numbers,
}


# Observer -----------------------------------------------------------------------------------------


class Points(LiteXModule):
    """A sticky bit for each point.

    Attributes
    ----------
    seen : out, a bit a point, in order.
    turn : in: when it changes, ``seen`` starts anew.
    """

    def __init__(self, points: list[Point]) -> None:
        self.seen, self.turn = Signal(len(points)), Signal()

        # # #

        now, before = Signal(len(points)), Signal()
        self.comb += [now[i].eq(point.seen) for i, point in enumerate(points)]
        self.sync += [before.eq(self.turn), self.seen.eq(now | Mux(before == self.turn, self.seen, 0))]


class ObservedCore(TimedCore):
    """A core with its points."""

    def __init__(self, config: AcceleratorConfig) -> None:
        super().__init__(config)
        self.groups = {name: make(self) for name, make in GROUPS.items()}
        self.list = [point for group in self.groups.values() for point in group]
        self.points = Points(self.list)


class ObservedBench(CoreBench):
    """Its bench.

    ``hits`` counts for each point the jobs in which it was seen; ``units`` has the unit of every signal and
    memory of the Verilog.
    """

    def __init__(self, config: AcceleratorConfig, **options: Any) -> None:
        self.core = ObservedCore(config)
        points = self.core.points
        super().__init__(
            self.core, {"turn": points.turn}, {"seen": points.seen}, rewrite=self._lower, **options
        )
        self.hits = dict.fromkeys((point.name for point in self.core.list), 0)
        if len(self.hits) != len(self.core.list):
            raise ValueError("two points have the same name")

    def _lower(self, fragment: _Fragment) -> _Fragment:
        fragment = lowered(fragment)
        self.units = spread(drivers(self.core, PACKAGE), fragment)
        return fragment

    def run(self, *arguments: Any, **options: Any) -> tuple[int, bytes, dict[str, int]]:
        """As every core, and note the points of this job."""
        self.bench.set("turn", 1 - self.bench.get("turn"))
        result = super().run(*arguments, **options)
        seen = self.bench.get("seen")
        for place, name in enumerate(self.hits):
            self.hits[name] += seen >> place & 1
        return result
