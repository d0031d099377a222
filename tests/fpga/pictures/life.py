# SPDX-License-Identifier: BSD-2-Clause
"""What each unit does for each row of a job, cycle by cycle, from a simulation of the whole core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from litex.soc.interconnect.stream import Endpoint

from spatten_drivers.config import AcceleratorConfig
from spatten_drivers.job import HEADER_BYTES, decode_header
from spatten_fpga.core.core import Core
from spatten_fpga.sim.bench import Run
from tests.fpga.core.core_bench import config_of
from tests.fpga.core.probes import ProbedBench
from tests.model.jobs import JobImage

PLANES = {"k_msb": "K, MSB plane", "k_lsb": "K, LSB plane", "v_msb": "V, MSB plane", "v_lsb": "V, LSB plane"}
ORDERLY = {
    "q": "queries",
    "descriptor": "descriptor",
    "token_importance": "importance",
    "head_importance": "importance",
}
WRITTEN = {"output": "outputs", "answer": "answer", **{k: v for k, v in ORDERLY.items() if v == "importance"}}


@dataclass(frozen=True)
class Span:
    """A unit, ``lane``, at work for one row; ``row`` is -1 where the work is the whole job's."""

    lane: str
    row: int
    start: int
    end: int


class WatchedCore(Core):
    """A core that shows every handshake of the streams between its units."""

    def __init__(self, config: AcceleratorConfig) -> None:
        super().__init__(config)
        engine = self.engine
        watched = {
            "passes": engine.rows.passes,
            "scored": engine.scores.array.sink,
            "weighed": engine.softmax.exps.sink,
            "ranking": engine.softmax.topk.sink,
            "ranked": engine.softmax.topk.source,
            "multiplied": engine.values.array.sink,
            "scaled": engine.values.outputs,
        }
        self.probes = {name: Endpoint([("slot", 8), ("add", 1)]) for name in watched}
        for name, seen in watched.items():
            probe = self.probes[name]
            self.comb += [probe.valid.eq(seen.valid & seen.ready), probe.last.eq(seen.last)]
        passes = engine.rows.passes
        self.comb += [self.probes["passes"].slot.eq(passes.slot), self.probes["passes"].add.eq(passes.add)]


def life(image: JobImage, latency: int = 20) -> list[Span]:
    """Run a job whose rows each belong to another head, and say when each unit worked on which row.

    Parameters
    ----------
    image : the job, of one query a head.
    latency : of memory, in cycles.
    """
    dut = WatchedCore(config_of(image))
    run = ProbedBench(dut, dut.probes).run(image, latency)
    return [*_memory_spans(image, run), *_unit_spans(run)]


def _memory_spans(image: JobImage, run: Run) -> Iterator[Span]:
    """Beats by what lies at their address; a row is the head's number in its plane."""
    beat = image.config.beat_bytes
    for names, addresses, cycles in (
        (PLANES | ORDERLY, run.tokens["command"], run.cycles["data"]),
        (WRITTEN, run.tokens["write"], run.cycles["write"]),
    ):
        labels = [_label(image, names, beat * token["address"]) for token in addresses]
        yield from _spans(labels, cycles)


def _label(image: JobImage, names: dict[str, str], address: int) -> tuple[str, int]:
    for name, (start, size) in image.regions.items():
        if name in names and start <= address < start + size:
            return names[name], _head(image, name, address) if name in PLANES else -1
    raise AssertionError(f"the core touched {address:#x}, which belongs to no region of the job")


def _head(image: JobImage, plane: str, address: int) -> int:
    """The head whose rows lie at ``address``."""
    header = decode_header(np.frombuffer(image.memory, np.uint8)[image.descriptor_address :][:HEADER_BYTES])
    return (address - header[f"{plane}_address"]) // header[f"{plane}_stride"]


def _unit_spans(run: Run) -> Iterator[Span]:
    """Handshakes of the units; rows follow each other in the order of the passes, or of the job."""
    rows: dict[int, int] = {}  # row in each slot
    order = []
    for token in run.tokens["passes"]:
        if not token["add"]:
            rows[token["slot"]] = len(set(order))
        order.append(rows[token["slot"]])
    passes = {"scored": "Q x K array", "weighed": "softmax"}
    in_order = {
        "ranking": "top-k: in",
        "ranked": "top-k: out",
        "multiplied": "prob x V array",
        "scaled": "normalise",
    }
    for name, lane in (passes | in_order).items():
        number = _numbered([token["last"] for token in run.tokens[name]])
        labels = [(lane, order[n] if name in passes else n) for n in number]
        yield from _spans(labels, run.cycles[name])


def _numbered(lasts: Sequence[int]) -> Iterator[int]:
    """The number of the packet that each token is of."""
    number = 0
    for last in lasts:
        yield number
        number += last


def _spans(labels: Sequence[tuple[str, int]], cycles: Sequence[int], gap: int = 12) -> Iterator[Span]:
    """Handshakes of one label, at most ``gap`` cycles apart, as one span."""
    open_spans: dict[tuple[str, int], list[int]] = {}
    for label, cycle in zip(labels, cycles, strict=True):
        span = open_spans.get(label)
        if span and cycle - span[1] <= gap:
            span[1] = cycle + 1
            continue
        if span:
            yield Span(*label, *span)
        open_spans[label] = [cycle, cycle + 1]
    for label, (start, end) in open_spans.items():
        yield Span(*label, start, end)
