# SPDX-License-Identifier: BSD-2-Clause
"""Latency and throughput of every unit, measured where it works: inside the core, on whole jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from litex.soc.interconnect.stream import Endpoint

from spatten_drivers.config import AcceleratorConfig
from spatten_fpga.core.core import Core
from tests.fpga.pictures.streams import ports
from tests.model.jobs import JobImage

from .core_bench import config_of
from .probes import ProbedBench

WINDOW = 32  # cycles over which a rate is taken


@dataclass(frozen=True)
class UnitFigures:
    """One unit.

    Attributes
    ----------
    unit : its place in the core.
    latency : cycles from the first token of the input that came last to the first token out; ``None`` for a
        unit without one of both, or that the jobs did not use.
    taken, given : most tokens a cycle over 32 cycles, with their bits, of its busiest input and output.
    """

    unit: str
    latency: int | None
    taken: tuple[float, int]
    given: tuple[float, int]


class ProbedCore(Core):
    """A core that shows the handshakes of every stream of every unit, by unit, side and number."""

    def __init__(self, config: AcceleratorConfig) -> None:
        super().__init__(config)
        self.probes: dict[tuple[str, str, int], Endpoint] = {}
        self.bits: dict[tuple[str, str, int], int] = {}
        for unit, sides in ports(self).items():
            for side, endpoints in zip(("in", "out"), sides, strict=True):
                for number, seen in enumerate(endpoints):
                    name = (unit, side, number)
                    self.probes[name] = probe = Endpoint([])
                    self.bits[name] = len(seen.payload.raw_bits()) + len(seen.param.raw_bits())
                    self.comb += probe.valid.eq(seen.valid & seen.ready)


def unit_figures(images: Sequence[JobImage], latency: int = 20) -> list[UnitFigures]:
    """Run jobs, each on its own, on the core they are built for, and take every unit's figures.

    A unit's latency is that of the first job that used it, its rates are the best of all jobs.
    """
    dut = ProbedCore(config_of(images[0]))
    names = {
        "_".join((unit.replace(".", "_"), side, str(n))): (unit, side, n) for unit, side, n in dut.probes
    }
    probes = {name: dut.probes[key] for name, key in names.items()}
    bench = ProbedBench(dut, probes)
    seen = [_handshakes(bench, image, names, latency) for image in images]
    return [_figures(unit, seen, dut.bits) for unit in ports(dut) if unit not in ("memory", "jobs")]


Handshakes = dict[tuple[str, str, int], list[int]]


def _handshakes(
    bench: ProbedBench, image: JobImage, names: dict[str, tuple[str, str, int]], latency: int
) -> Handshakes:
    """Cycles of the handshakes of each probe."""
    run = bench.run(image, latency)
    return {key: run.cycles[name] for name, key in names.items()}


def _figures(unit: str, seen: Sequence[Handshakes], bits: dict[tuple[str, str, int], int]) -> UnitFigures:
    waits = (_latency(*(_side(unit, side, job).values() for side in ("in", "out"))) for job in seen)
    best = {side: _best_rate(unit, side, seen, bits) for side in ("in", "out")}
    return UnitFigures(
        unit, next((wait for wait in waits if wait is not None), None), best["in"], best["out"]
    )


def _side(unit: str, side: str, job: Handshakes) -> Handshakes:
    return {key: cycles for key, cycles in job.items() if key[:2] == (unit, side)}


def _latency(inputs: Iterable[list[int]], outputs: Iterable[list[int]]) -> int | None:
    first_out = min((cycles[0] for cycles in outputs if cycles), default=None)
    if first_out is None:
        return None
    before = [cycles[0] for cycles in inputs if cycles and cycles[0] <= first_out]
    return first_out - max(before) if before else None


def _best_rate(
    unit: str, side: str, seen: Sequence[Handshakes], bits: dict[tuple[str, str, int], int]
) -> tuple[float, int]:
    """Tokens a cycle and bits a token of the stream that moves most bits a cycle."""
    rates = [(max(_rate(job[key]) for job in seen), bits[key]) for key in bits if key[:2] == (unit, side)]
    return max(rates, key=lambda one: one[0] * one[1], default=(0.0, 0))


def _rate(cycles: list[int]) -> float:
    """Most handshakes in a window, a cycle."""
    at = np.asarray(cycles)
    inside = np.searchsorted(at, at + WINDOW) - np.arange(len(at)) if len(at) else [0]
    return float(max(inside)) / WINDOW
