# SPDX-License-Identifier: BSD-2-Clause
"""A plan whole: the text as its schedule has it, beside the same text with nothing pruned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import InputError
from ..schedule import Schedule
from ..trace import Trace
from .boards import Machine
from .fit import Check, checks, require_fit
from .from_trace import trace_jobs
from .plan import Phase, phase, phases
from .shapes import ModelShape
from .workload import text_jobs


@dataclass(frozen=True)
class Comparison:
    """A planned workload.

    Attributes
    ----------
    machine : it runs on.
    title : the workload in a line.
    schedules : names of the pruned and of the dense run.
    pruned, dense : phases by name: ``prompt`` (or ``sentence``), ``tokens``.
    checks : what was checked to fit, of a text.
    refetch_share, values_share : what the plan takes for the share of rows, or keys, that refetch and of
        values that reach the schedule's ``value_share``; ``None`` where a trace says it.
    """

    machine: Machine
    title: str
    schedules: tuple[str, str]
    pruned: dict[str, Phase]
    dense: dict[str, Phase]
    checks: tuple[Check, ...] = ()
    refetch_share: float | None = None
    values_share: float | None = None


def plan_text(
    machine: Machine,
    shape: ModelShape,
    schedule: Schedule,
    dense: Schedule,
    prompt: int,
    generate: int = 0,
    refetch_share: float = 0.0,
    values_share: float = 1.0,
) -> Comparison:
    """Plan a sentence of a BERT, or a prompt of a GPT-2 and the tokens it generates.

    Raises
    ------
    InputError : a count is out of range, or a BERT is to generate.
    ConfigError : the text does not fit model or machine; the message names each limit.
    """
    shares = {"refetch share": refetch_share, "values share": values_share}
    _check_counts(shape, prompt, generate, shares)
    found = checks(machine, shape, schedule, prompt, generate)
    require_fit(found)
    made = [
        phases(machine, text_jobs(shape, rules, prompt, generate, *shares.values()), generate)
        for rules in (schedule, dense)
    ]
    if not shape.causal:
        made = [{"sentence": one["prompt"]} for one in made]
    what = f"a prompt of {prompt:,} tokens" if shape.causal else f"a sentence of {prompt:,} tokens"
    more = f" and {generate:,} generated" if generate else ""
    title = f"{shape.name}: {what}{more}"
    names = schedule.name, dense.name
    return Comparison(machine, title, names, *made, tuple(found), *shares.values())


def plan_trace(machine: Machine, trace: Trace, name: str, dense: Schedule) -> Comparison:
    """Plan the generated tokens of a workload trace.

    Raises
    ------
    ConfigError : the trace does not fit the machine.
    """
    longest = max(trace.lengths)
    shape = ModelShape(name, trace.layers, trace.heads, trace.head_dim, longest, causal=True)
    found = checks(machine, shape, dense, longest, 0)
    require_fit(found)
    count = trace.iterations
    pruned = {"tokens": phase(machine, trace_jobs(trace), count)}
    whole = {"tokens": phase(machine, trace_jobs(trace, dense.quantization), count)}
    title = f"{name}: {count:,} tokens at {trace.lengths[0]:,} to {longest:,}"
    return Comparison(machine, title, ("the trace", dense.name), pruned, whole, tuple(found))


def _check_counts(shape: ModelShape, prompt: int, generate: int, shares: Mapping[str, float]) -> None:
    if prompt < 1 or generate < 0:
        raise InputError(f"prompt is {prompt} and generate {generate}; expected 1 or more and 0 or more")
    if generate and not shape.causal:
        raise InputError(f"{shape.name} reads sentences and generates nothing; leave generate out")
    for name, share in shares.items():
        if not 0.0 <= share <= 1.0:
            raise InputError(f"{name} is {share}; expected 0 to 1")
