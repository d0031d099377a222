# SPDX-License-Identifier: BSD-2-Clause
"""``make core-report``: whole jobs on the simulated core in exact cycles."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.progress import track

from spatten.report.markdown import markdown_table
from spatten.report.write import write_atomic
from spatten_drivers.config import PRESETS, AcceleratorConfig
from spatten_fpga.core.topk import TopK
from spatten_fpga.sim import Bench
from tests.fpga.pictures.blocks import PLACES
from tests.fpga.pictures.job import decode_step
from tests.model.jobs import BY_KEY, DENSE, PROGRESSIVE, HeadSpec, JobSpec, build
from tests.model.oracle_config import OracleConfig
from tests.model.test_against_model import explain, run_model

from .core_bench import core_bench
from .test_core import CONFIGS, fitting_spec, random_pace
from .unit_figures import UnitFigures, unit_figures

PAGE, NUMBERS = Path("docs/core.md"), Path("build/core.json")
SEEN = {
    Path("build/coverage.json"): ("line_coverage", "toggle_coverage", "functional_points"),
    Path("build/core-mutants.json"): ("mutants",),
}
PRESET = "ecp5-85f"
CONFIG = OracleConfig(**asdict(PRESETS[PRESET]))
LATENCY = 20
NEVER = (1 << 32) - 1
SURE = {"widths": PROGRESSIVE, "refetch_limit": NEVER}
UNSURE = {"widths": PROGRESSIVE, "refetch_limit": 0}
SIX_BY_KEY = {"widths": replace(PROGRESSIVE, k_policy=3, v_policy=0), "refetch_shift": 7}
#: Elements and how many to keep, with the mean cycles of the paper's quick-select (computed from its model).
TOPK = {(204, 40): 70, (307, 92): 95, (614, 184): 162, (921, 184): 208, (993, 307): 247, (1024, 512): 248}
COLUMNS = ["job", "what it is", "cycles", "Q x K busy", "prob x V busy", "port busy"]
JOBS = 1000  # random jobs a configuration

Job = dict[str, Any]
Ranked = dict[tuple[int, int], list[int]]


def attention(
    slots: int, queries: tuple[int, ...], heads: int, keys: int | None = None, **changes: Any
) -> JobSpec:
    """A layer job of full width; ``keys`` live ones spread evenly over the slots."""
    live = tuple(range(0, slots, slots // keys)) if keys else tuple(range(slots))
    plain = JobSpec(
        config=CONFIG,
        head_dim=64,
        total_heads=heads,
        heads=tuple(HeadSpec(head, score_shift=30) for head in range(heads)),
        n_slots=slots,
        keys=live,
        queries=queries,
        keep_values=65535,
        keep_tokens=-(-len(live) // 2),
        keep_heads=heads,
        widths=DENSE,
    )
    return replace(plain, **changes)


def prefill(n: int, heads: int, **changes: Any) -> JobSpec:
    """All queries of a text of ``n`` tokens."""
    return attention(n, tuple(range(n)), heads, **changes)


def decode(n: int, keys: int | None = None, **changes: Any) -> JobSpec:
    """One query of 12 heads."""
    return attention(n, (n - 1,), 12, keys, **changes)


def few_bits(n: int, keys: int | None = None) -> JobSpec:
    """The same as `keys-gpt2` reads it, with scores so far apart that as few keys and values matter."""
    spec = decode(n, keys, widths=replace(BY_KEY, v_msb=4), refetch_shift=6, value_limit=197)
    return replace(spec, heads=tuple(HeadSpec(head, score_shift=20) for head in range(12)))


#: Heads of which some keys are far likelier than others.
LIKELY = tuple(HeadSpec(head, score_shift=22) for head in range(12))
#: name: (what it is, job)
CASES: dict[str, tuple[str, Callable[[], JobSpec]]] = {
    "prefill 128": ("dense, 12 heads", lambda: prefill(128, 12)),
    "prefill 384": ("dense, 4 heads", lambda: prefill(384, 4)),
    "prefill 1024": ("dense, 2 heads, buffers hold one head", lambda: prefill(1024, 2)),
    "prefill 128, D = 32": ("dense, 12 heads, two keys a cycle", lambda: prefill(128, 12, head_dim=32)),
    "prefill 384, causal": ("dense, 4 heads, rows grow", lambda: prefill(384, 4, causal=True)),
    "prefill 128, sure": ("6+4 bit, no row refetches", lambda: prefill(128, 12, **SURE)),
    "prefill 128, unsure": ("6+4 bit, all rows refetch", lambda: prefill(128, 12, **UNSURE)),
    "decode 1024": ("dense", lambda: decode(1024)),
    "decode 1024, half": ("every other token kept", lambda: decode(1024, 512)),
    "decode 1024, quarter": ("every fourth token kept", lambda: decode(1024, 256)),
    "decode 512, sure": ("6+4 bit, no row refetches", lambda: decode(512, **SURE)),
    "decode 512, unsure": ("6+4 bit, all rows refetch", lambda: decode(512, **UNSURE)),
    "decode 512, by key": (
        "6+4 bit, keys above 2^-7 refetch",
        lambda: replace(decode(512, **SIX_BY_KEY), heads=LIKELY),
    ),
    "decode 512, by key, V 1/4": (
        "the same, a quarter of the values",
        lambda: replace(decode(512, **SIX_BY_KEY, keep_values=128), heads=LIKELY),
    ),
    "decode 1024, half, V 1/4": (
        "6+4 bit, a quarter of the values",
        lambda: decode(1024, 512, **SURE, keep_values=128),
    ),
    "decode 1024, quarter, V 1/4": (
        "6+4 bit, a quarter of the values",
        lambda: decode(1024, 256, **SURE, keep_values=64),
    ),
    "decode 1024, few bits": ("4+4 bit, 1 % of the keys refetch, 12 % of the values", lambda: few_bits(1024)),
    "decode 1024, half, few bits": ("the same of every other token", lambda: few_bits(1024, 512)),
}  # fmt: skip


BY_KEY_STEP = replace(decode_step(CONFIG), **SIX_BY_KEY)
#: What is also measured behind the memory of a board.
ON_BOARD = [name for name in CASES if name.startswith("decode") or name.startswith("prefill 128")]


def measured(spec: JobSpec, board: bool = False) -> Job:
    """Cycles of a job, the beats that it moved, and the cycles in which a board's memory held it up.

    The answer must be the model's.

    Raises
    ------
    AssertionError : it is not.
    """
    image = build(spec)
    core = core_bench(AcceleratorConfig(**asdict(CONFIG)), board)
    status, memory, clocked = core.run(image, latency=LATENCY, limit=50_000_000)
    expected_status, expected = run_model(image, "numpy")
    assert (status, explain(image, memory, expected)) == (expected_status, "")
    return {**clocked, "beats": core.beats, "held": core.held}


def topk_cycles(n: int, k: int, bench: Bench) -> list[int]:
    """Cycles of sets of every kind, first beat offered to last survivor taken."""
    draws = random.Random(n)
    rising = sorted(draws.getrandbits(16) for _ in range(n))
    kinds = [[draws.getrandbits(16) for _ in range(n)] for _ in range(8)]
    kinds += [rising, rising[::-1], [7] * n, [draws.randrange(2) for _ in range(n)], [65535] * n]
    found = []
    for values in kinds:
        beats = [values[start : start + 16] for start in range(0, n, 16)]
        tokens = [
            {"values": sum(v << 16 * i for i, v in enumerate(b)), "n": n, "k": k, "last": b is beats[-1]}
            for b in beats
        ]
        run = bench.run({"sink": tokens}, {"source": len(beats)})
        assert sum(token["keep"].bit_count() for token in run.tokens["source"]) == k
        found.append(run.cycles["source"][-1] + 1)
    return found


def random_jobs() -> Iterator[bool]:
    """Whether each of many random jobs on small cores of every kind came out right."""
    for name, config in CONFIGS.items():
        core = core_bench(AcceleratorConfig(**asdict(config)))
        for seed in range(JOBS):
            draws = random.Random(f"report {name} {seed}")
            image = build(fitting_spec(draws, config))
            status, memory, _ = core.run(image, **random_pace(draws), seed=seed)
            yield (status, memory) == run_model(image, "numpy")


def main() -> None:
    """Measure, and write the page and the numbers."""
    jobs = {name: measured(make()) for name, (_, make) in track(list(CASES.items()), "whole jobs")}
    dut = TopK(16, 16, 1024)
    bench = Bench(dut, {"sink": dut.sink}, {"source": dut.source})
    ranked = {sizes: topk_cycles(*sizes, bench) for sizes in track(list(TOPK), "top-k engine")}
    same = list(track(random_jobs(), "random jobs", total=JOBS * len(CONFIGS)))
    there = track(list(ON_BOARD), "whole jobs on a board's memory")
    board = {name: measured(CASES[name][1](), board=True) for name in there}
    numbers = {
        **figures(jobs, ranked, same, len(board)),
        "board": board_figures(board),
        **what_tests_see(),
    }
    NUMBERS.parent.mkdir(exist_ok=True)
    write_atomic(NUMBERS, json.dumps(numbers, indent=1) + "\n")
    units = unit_figures([build(prefill(128, 2)), build(decode_step(CONFIG)), build(BY_KEY_STEP)], LATENCY)
    write_atomic(PAGE, page(jobs, board, ranked, units, numbers))


def figures(
    jobs: dict[str, Job], ranked: dict[tuple[int, int], list[int]], same: list[bool], more: int
) -> dict[str, Any]:
    """The figures that others compare with."""
    cycles = {name: job["cycles"] for name, job in jobs.items()}
    lsb_beats = 2 * 12 * 512 * 2  # K and V of 12 heads: 512 rows of 64 x 4 bit
    return {
        "preset": PRESET,
        "memory": f"in order, {CONFIG.beat_bytes} bytes a cycle, {LATENCY} cycles latency, no refresh",
        "topk_mean_cycles": {"16": {f"{n},{k}": sum(c) / len(c) for (n, k), c in ranked.items()}},
        "topk_worst_cycles": {"16": {f"{n},{k}": max(c) for (n, k), c in ranked.items()}},
        "prefill_busy": {
            name.removeprefix("prefill "): round(min(job["busy_qk"], job["busy_pv"]) / job["cycles"], 4)
            for name, job in jobs.items()
            if name.startswith("prefill") and "sure" not in name
        },
        "decode_beat_share": {
            name.removeprefix("decode "): round(job["beats"] / job["cycles"], 4)
            for name, job in jobs.items()
            if name.startswith("decode")
        },
        "keep_half_cycle_ratio": round(cycles["decode 1024, half"] / cycles["decode 1024"], 4),
        "keep_quarter_cycle_ratio": round(cycles["decode 1024, quarter"] / cycles["decode 1024"], 4),
        "refetch_extra_cycles": {
            "decode, a row, beyond its LSB beats": round(
                (cycles["decode 512, unsure"] - cycles["decode 512, sure"] - lsb_beats) / 12, 1
            ),
            "prefill, a row of 128 keys": round(
                (cycles["prefill 128, unsure"] - cycles["prefill 128, sure"]) / (12 * 128), 1
            ),
        },
        "jobs": len(same) + len(jobs) + more,
        "mismatches": same.count(False),
    }


def what_tests_see() -> dict[str, Any]:
    """What `make core-coverage` and `make core-mutate` left behind; ``None`` where they did not run."""
    found: dict[str, Any] = {}
    for path, names in SEEN.items():
        kept = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        found |= {name: kept.get(name) for name in names}
    return found


def board_figures(board: dict[str, Job]) -> dict[str, Any]:
    """The same behind LiteDRAM's controller: shares of the time of the data lines, and of what it leaves."""
    return {
        "memory": "LiteDRAM's controller of the ECPIX-5 at 75 MHz, DDR3 x16: 16 bytes in two cycles",
        "decode_beat_share": {
            name: {
                "of_all_cycles": round(2 * job["beats"] / job["cycles"], 4),
                "of_cycles_not_held": round(2 * job["beats"] / (job["cycles"] - job["held"]), 4),
            }
            for name, job in board.items()
            if name.startswith("decode")
        },
        "prefill_busy": {
            name: round(min(job["busy_qk"], job["busy_pv"]) / job["cycles"], 4)
            for name, job in board.items()
            if name.startswith("prefill")
        },
    }


def unit_rows(units: Sequence[UnitFigures]) -> list[list[str]]:
    """Cells of the table of units, named as in the picture."""
    return [
        [
            PLACES[one.unit].title.replace("\n", " "),
            "" if one.latency is None else f"{one.latency}",
            *(f"{rate:.2f} x {bits}" if rate else "" for rate, bits in (one.taken, one.given)),
        ]
        for one in units
        if one.taken[0] or one.given[0]
    ]


def page(
    jobs: dict[str, Job],
    board: dict[str, Job],
    ranked: Ranked,
    units: Sequence[UnitFigures],
    numbers: dict[str, Any],
) -> str:
    """docs/core.md."""
    rows = [
        [
            name,
            CASES[name][0],
            f"{job['cycles']:,}",
            f"{100 * job['busy_qk'] / job['cycles']:.1f} %",
            f"{100 * job['busy_pv'] / job['cycles']:.1f} %",
            f"{100 * job['beats'] / job['cycles']:.1f} %",
        ]
        for name, job in jobs.items()
    ]
    top = [
        [str(n), str(k), f"{sum(c) / len(c):.0f}", str(max(c)), str(TOPK[n, k])]
        for (n, k), c in ranked.items()
    ]
    real = [
        [
            name,
            f"{job['cycles']:,}",
            f"{100 * job['busy_qk'] / job['cycles']:.1f} %",
            f"{100 * 2 * job['beats'] / job['cycles']:.1f} %",
            f"{100 * job['held'] / job['cycles']:.1f} %",
            f"{100 * 2 * job['beats'] / (job['cycles'] - job['held']):.1f} %",
        ]
        for name, job in board.items()
    ]
    return TEXT.format(
        units=markdown_table(["unit", "latency", "in", "out"], unit_rows(units)),
        board=markdown_table(["job", "cycles", "Q x K busy", "port busy", "held", "busy of the rest"], real),
        memory=numbers["memory"],
        jobs=markdown_table(
            ["job", "what it is", "cycles", "Q x K busy", "prob x V busy", "port busy"], rows
        ),
        topk=markdown_table(["n", "k", "mean cycles", "worst", "paper's mean"], top),
        half=numbers["keep_half_cycle_ratio"],
        quarter=numbers["keep_quarter_cycle_ratio"],
        refetch=numbers["refetch_extra_cycles"]["decode, a row, beyond its LSB beats"],
        again=numbers["refetch_extra_cycles"]["prefill, a row of 128 keys"],
        count=f"{numbers['jobs']:,}",
        wrong=numbers["mismatches"],
    )


TEXT = """\
# The core in exact cycles

Made by `make core-report`: the generated Verilog of the preset `ecp5-85f` (64 + 64 multipliers, top-k of
16 a cycle), compiled with Verilator, on whole layer jobs. Every answer was compared with the software
model's, byte for byte. **Memory in this first table is a model**:
{memory}. What the core takes of a chip is in [core-fit.md](core-fit.md).

![Units and streams](core-blocks.svg)

Every unit and stream of the elaborated design, drawn from it: numbers are bits of a token's payload, blue is
the way to memory, grey are the orders by which the row control leads rows through the paths.

![A decode step](core-timeline.svg)

A decode step in simulation: what each unit works on in each cycle. The heads follow each other through the
units; the second is unsure of its weights, so it fetches the LSB plane of its keys, goes through the
array again, and only then ranks its weights and fetches the values that are kept.

## Whole jobs

{jobs}

*Busy* is the share of all cycles of the job, from the push of the descriptor to its status; *port busy*
counts beats read and written. `sure` and `unsure` are the ends of progressive quantization: no row
refetches, or every one does.

- Keeping half of the tokens takes {half} of the dense decode cycles, a quarter {quarter}.
- A refetch costs its LSB beats and {refetch} cycles more a row in decode; in prefill {again} cycles a row
  of 128 keys, which is its second pass.
- *By key* a step costs the LSB beats of the keys picked. A pick takes 5 cycles, and one for each beat of
  weights or for each key of it that is picked; it hides behind the fetch of other rows.
- {count} jobs compared, random ones on small cores with random gaps and latencies among them: {wrong}
  differ.

## Behind the memory of a board

The same core behind LiteDRAM's own controller, with the settings of the ECPIX-5 at 75 MHz: DDR3 of 16
data lines, which moves a beat of 16 bytes in two cycles at most. Rows of memory open and close, the bus turns
round between reads and writes, and refreshes take their time; only PHY and chips are replaced, by what they
are in cycles. *Port busy* counts two cycles for each beat, of all cycles of the job. *Held* are the cycles in
which the controller had a command and no beat moved: it opened a row, turned the bus round, refreshed. *Busy
of the rest* is the share of the cycles in which a beat could have moved that moved one which the job needs.

{board}

Rows of pruned tokens are skipped, so memory's rows are left sooner, and each change costs the same: the fewer
tokens of a row of memory are kept, the more of the time is *held*.

## Top-k engine

16 weights of 16 bit a cycle, from the first beat offered to the last survivor out. Means and worst cases
are over random, sorted, reversed and equal values; latency does not depend on them. The last column is
the mean of the paper's quick-select at 16 comparators, computed from its authors' latency model.

{topk}

## Units

Measured inside the core, in a prefill of 128 keys and the decode step of the picture, as drawn and with
refetch by key. *Latency* is the time from the first token of the input that came last to the first token out;
for a buffer that includes the wait for what is written first. *In* and *out* are the most tokens that the
busiest stream of that side moved in 32 cycles, a cycle, times the bits of a token.

{units}
"""

if __name__ == "__main__":
    main()
