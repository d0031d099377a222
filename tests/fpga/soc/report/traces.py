# SPDX-License-Identifier: BSD-2-Clause
"""The authors' workload traces, played as layer jobs: first and last generated token, all layers.

Operands are random, so which keys are alive and which rows refetch is not the authors'; how many are is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.progress import track

from spatten.plan import JobFacts
from spatten.plan.from_trace import trace_jobs
from spatten.trace import read_trace
from spatten_drivers import Quantization
from tests.fpga.plan.grid import NEVER, job, scattered
from tests.model.jobs import JobImage, JobSpec, Widths, build
from tests.model.test_against_model import run_model

from .jobs import PRESET, Played, header, played, together

FOLDER = Path(os.environ.get("SPATTEN_TRACES", Path(__file__).parents[5] / "shared" / "traces"))
FILES = {
    "dense": "gpt2-small-wikitext2-per8-step1+dedic.csv",
    "per8": "gpt2-small-wikitext2-per8.csv",
}
TOKENS = {"first": 0, "last": -1}
SCORE_SHIFT = 23  # scores spread over some octaves, so rows differ in how sure they are


def spec_of(facts: JobFacts, seed: int) -> JobSpec:
    """A job of that shape with random operands."""
    return job(
        PRESET,
        facts.slots,
        (facts.slots - 1,),
        facts.heads,
        scattered(facts.slots, facts.keys),
        score_shift=SCORE_SHIFT,
        head_dim=facts.head_dim,
        total_heads=facts.total_heads,
        keep_values=facts.keep_values,
        keep_tokens=facts.keep_tokens,
        keep_heads=facts.keep_heads,
        widths=_widths(facts.quantization),
        causal=facts.causal,
        refetch_limit=NEVER,
        seed=seed,
    )


def _widths(rules: Quantization) -> Widths:
    return Widths(
        q=rules.q_bits,
        k_msb=rules.k_msb_bits,
        k_lsb=rules.k_lsb_bits,
        v_msb=rules.v_msb_bits,
        v_lsb=rules.v_lsb_bits,
        k_policy=int(rules.k_policy),
        v_policy=int(rules.v_policy),
    )


def image_of(spec: JobSpec, facts: JobFacts) -> JobImage:
    """The job of :func:`spec_of`, with the limit at which as many rows refetch as the trace says.

    Raises
    ------
    ValueError : no limit gives that count, as some rows are equally sure.
    """
    image, wanted = build(spec), round(facts.refetched)
    low, high = 0, NEVER
    while wanted and low <= high:
        limit = (low + high) // 2
        image.poke("refetch_limit", limit)
        found = _refetching(image)
        if found == wanted:
            return image
        low, high = (limit + 1, high) if found > wanted else (low, limit - 1)
    if wanted:
        raise ValueError(f"no limit makes {wanted} of {facts.rows} rows refetch; give another seed")
    return image


def _refetching(image: JobImage) -> int:
    return header(image, run_model(image, "numba")[1])[0]["refetched_rows"]


def jobs() -> Iterator[tuple[str, str, JobFacts, int]]:
    """(trace, token, job, seed) of all jobs that are played."""
    for trace, file in FILES.items():
        tokens = list(trace_jobs(read_trace(FOLDER / file)))
        for token, place in TOKENS.items():
            for layer, facts in enumerate(tokens[place]):
                yield trace, token, facts, layer


def traces_played() -> dict[str, Played]:
    """``trace token``: its layers together."""
    found: dict[str, list[Played]] = {}
    for trace, token, facts, seed in track(list(jobs()), "layers of the traces"):
        spec = spec_of(facts, seed)
        one = played(spec, image_of(spec, facts))
        assert one.refetched == round(facts.refetched)
        found.setdefault(f"{trace} {token}", []).append(one)
    return {name: together(layers) for name, layers in found.items()}


def saving(found: dict[str, Played]) -> dict[str, Any]:
    """Cycles dense over pruned, bytes dense over pruned, and the one over the other; each token, and both."""
    groups = {**{token: (token,) for token in TOKENS}, "both": tuple(TOKENS)}
    result = {}
    for name, tokens in groups.items():
        dense, pruned = (together(found[f"{trace} {token}"] for token in tokens) for trace in FILES)
        cycles, bytes_ = dense.cycles / pruned.cycles, dense.bytes / pruned.bytes
        result[name] = {
            "cycle_saving": round(cycles, 4),
            "byte_saving": round(bytes_, 4),
            "ratio": round(cycles / bytes_, 4),
        }
    return result
