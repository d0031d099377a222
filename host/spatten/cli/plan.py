# SPDX-License-Identifier: BSD-2-Clause
"""``spatten plan``: what a text will take on a board, before there is one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spatten_drivers import KeyPolicy

from ..presets import PRESETS, chosen_schedule, preset
from .console import out, print_json, say, table
from .options import AsJson

if TYPE_CHECKING:
    from ..plan import Comparison, ModelShape, Phase
    from ..schedule import Schedule

MACHINE, TEXT = "Machine", "Workload"
BoardName = Annotated[
    str | None,
    typer.Option(
        "--board",
        help="ecpix5, butterstick, orangecrab, ulx3s, colorlight_i5 or colorlight_i9.",
        rich_help_panel=MACHINE,
    ),
]
PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="Core: ecp5-85f, ecp5-85f-slim, ecp5-25f, ecp5-25f-slim, zynq-7020 or paper.",
        rich_help_panel=MACHINE,
    ),
]
Clock = Annotated[
    float | None, typer.Option("--clock", metavar="MHZ", help="System clock.", rich_help_panel=MACHINE)
]
DramName = Annotated[
    str | None,
    typer.Option(
        "--dram",
        help="ddr3-x16-512, ddr3-x16-256, ddr3-x16-128, sdr-x16-32 or sdr-x32-8.",
        rich_help_panel=MACHINE,
    ),
]
ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        help="minilm, bert-base, gpt2-prose, gpt2-small, or a folder with a config.json.",
        rich_help_panel=TEXT,
    ),
]
Layers = Annotated[int | None, typer.Option("--layers", help="Instead of the model's.", rich_help_panel=TEXT)]
Heads = Annotated[int | None, typer.Option("--heads", help="Instead of the model's.", rich_help_panel=TEXT)]
HeadDim = Annotated[
    int | None, typer.Option("--head-dim", help="Instead of the model's.", rich_help_panel=TEXT)
]
Prompt = Annotated[
    int, typer.Option("--prompt", help="Tokens of the sentence or prompt.", rich_help_panel=TEXT)
]
Generate = Annotated[
    int | None,
    typer.Option("--generate", help="Tokens that a GPT-2 adds; 32 unless given.", rich_help_panel=TEXT),
]
ScheduleName = Annotated[
    str,
    typer.Option(
        "--schedule", help=f"A .toml or .json file, or one of: {', '.join(PRESETS)}.", rich_help_panel=TEXT
    ),
]
Against = Annotated[
    str, typer.Option("--against", help="Schedule of the run beside it.", rich_help_panel=TEXT)
]
Refetch = Annotated[
    float | None,
    typer.Option(
        "--refetch-share",
        help="Share of rows that fetch LSBs where the schedule is progressive, 0.1 unless given; of keys "
        "where it refetches by key, 0.02 unless given: it depends on the numbers.",
        rich_help_panel=TEXT,
    ),
]
ValuesRead = Annotated[
    float,
    typer.Option(
        "--values-share",
        help="Share of values that reach the schedule's value_share: it depends on the numbers too.",
        rich_help_panel=TEXT,
    ),
]
#: Rows that refetch, and with refetch by key the keys, unless a share is given; and values that are read:
#: those of `keys-gpt2` on 464 tokens and more of real text (docs/generation.md).
ROWS_REFETCH, KEYS_REFETCH, VALUES_READ = 0.1, 0.02, 0.45
TraceFile = Annotated[
    Path | None,
    typer.Option(
        "--trace", help="A workload CSV of the SpAtten authors, instead of a model.", rich_help_panel=TEXT
    ),
]
Picture = Annotated[
    Path | None, typer.Option("--roofline", metavar="OUT.svg", help="Draw the workload under its roofs.")
]

KINDS = {
    "queries": ("read_q",),
    "K MSB": ("read_k_msb",),
    "K LSB": ("read_k_lsb",),
    "V MSB": ("read_v_msb",),
    "V LSB": ("read_v_lsb",),
    "outputs": ("written_output",),
    "importance": ("read_importance", "written_importance"),
    "descriptors, answers": ("read_control", "written_control"),
}


def plan(
    board: BoardName = None,
    preset_name: PresetName = None,
    clock: Clock = None,
    dram: DramName = None,
    model: ModelName = "gpt2-small",
    layers: Layers = None,
    heads: Heads = None,
    head_dim: HeadDim = None,
    prompt: Prompt = 128,
    generate: Generate = None,
    schedule: ScheduleName = "dense-8bit",
    against: Against = "dense-8bit",
    refetch_share: Refetch = None,
    values_share: ValuesRead = VALUES_READ,
    trace: TraceFile = None,
    roofline: Picture = None,
    as_json: AsJson = False,
) -> None:
    """Plan a text on a board: does it fit, how long does it take, and what holds it up.

    Cycles come from a model of the core that is checked against simulation, see `docs/plan.md`; **no figure
    was measured on a board**. They are of attention on the device alone, without the host's layers and the
    way of rows to the device.

    The machine is a `--board`, a board with something changed, or `--preset`, `--clock` and `--dram`.
    Pruning follows the schedule. What depends on the numbers is assumed: what refetches, `--refetch-share`,
    and the values that weigh enough to be read, `--values-share`; `spatten run` measures both.

    Examples:

    - `spatten plan --board ecpix5 --model gpt2-small --prompt 960 --generate 32 --schedule paper-gpt2`
    - `spatten plan --board colorlight_i5 --model minilm --prompt 64 --schedule paper-bert --json`
    - `spatten plan --preset ecp5-85f --clock 100 --dram ddr3-x16-512 --model gpt2-prose --prompt 512`
    - `spatten plan --board ecpix5 --trace gpt2-small-wikitext2-per8.csv --roofline roofline.svg`
    """
    from ..plan import machine, model_shape, plan_text, plan_trace

    found = machine(board or _default_board(preset_name, clock, dram), preset_name, _hertz(clock), dram)
    if trace is not None:
        from ..trace import read_trace

        dense = _schedule(against, 1, 1)
        made = plan_trace(found, read_trace(trace), trace.stem, dense)
    else:
        shape = model_shape(model, layers=layers, heads=heads, head_dim=head_dim)
        rules = [_schedule(name, shape.layers, prompt) for name in (schedule, against)]
        shares = _refetched(rules[0]) if refetch_share is None else refetch_share, values_share
        made = plan_text(found, shape, *rules, prompt, _generated(shape, generate), *shares)
    if roofline is not None:
        from ..plan.roofline import draw_roofline, workloads

        draw_roofline(made.machine, workloads(made), roofline)
        say(f"roofline: {roofline}")
    if as_json:
        print_json(comparison_json(made))
    else:
        _show(made)


def _default_board(preset_name: str | None, clock: float | None, dram: str | None) -> str | None:
    """The ECPIX-5, if no machine is named at all."""
    return "ecpix5" if preset_name is None and clock is None and dram is None else None


def _hertz(clock: float | None) -> float | None:
    return None if clock is None else clock * 1e6


def _generated(shape: ModelShape, generate: int | None) -> int:
    return (32 if shape.causal else 0) if generate is None else generate


def _refetched(schedule: Schedule) -> float:
    """The share that is assumed: of keys where single keys refetch, else of rows."""
    by_key = schedule.quantization.k_policy == KeyPolicy.BY_KEY
    return KEYS_REFETCH if by_key else ROWS_REFETCH


def _schedule(given: str, layers: int, length: int) -> Schedule:
    """By name for this length, or from a file."""
    chosen = chosen_schedule(given)
    return preset(chosen, layers, length) if isinstance(chosen, str) else chosen


# JSON ---------------------------------------------------------------------------------------------


def comparison_json(made: Comparison) -> dict[str, Any]:
    """The JSON document of a plan."""
    return {
        "machine": {
            "title": made.machine.title,
            "clock_hz": made.machine.clock,
            "dram": made.machine.dram.name,
            "peak_bytes_a_second": made.machine.peak_bytes,
            "config": made.machine.config.to_dict(),
            "checked_against_simulation": made.machine.checked,
        },
        "workload": made.title,
        "refetch_share": made.refetch_share,
        "values_share": made.values_share,
        "fit": [{"what": check.what, "asked": check.asked, "limit": check.limit} for check in made.checks],
        "schedules": {"pruned": made.schedules[0], "dense": made.schedules[1]},
        "pruned": {name: _phase_json(one) for name, one in made.pruned.items()},
        "dense": {name: _phase_json(one) for name, one in made.dense.items()},
    }


def _phase_json(one: Phase) -> dict[str, Any]:
    return {
        "passes": one.passes,
        "cycles": one.cycles,
        "seconds": one.seconds,
        "passes_a_second": one.passes_a_second,
        "bytes": one.bytes,
        "dram_share": one.dram_share,
        "bottleneck": one.bottleneck,
        "busy": one.busy,
        "held_by": one.held,
    }


# Tables -------------------------------------------------------------------------------------------


def _show(made: Comparison) -> None:
    machine = made.machine
    out().print(
        f"[bold]{made.title}[/] · {machine.title} at {machine.clock / 1e6:g} MHz, {machine.dram.name}, "
        f"{machine.peak_bytes / 1e6:,.0f} MB/s at most"
    )
    if made.checks:
        _show_fit(made)
    for name, pruned in made.pruned.items():
        _show_phase(made, name, pruned, made.dense[name])
    _show_notes(made)


def _show_fit(made: Comparison) -> None:
    rows = table("Fits", "limit", "asked", "there is")
    for check in made.checks:
        rows.add_row(check.what, check.asked, check.limit)
    out().print(rows)


def _show_phase(made: Comparison, name: str, pruned: Phase, dense: Phase) -> None:
    rows = table(name.capitalize(), "", *made.schedules, "less")
    for what, value, shown in _speed(name):
        rows.add_row(what, shown(value(pruned)), shown(value(dense)), "")
    cycles = [f"{one.cycles / one.passes:,.0f}" for one in (pruned, dense)]
    rows.add_row(f"cycles a {_pass(name)}", *cycles, _less(pruned.cycles, dense.cycles))
    rows.add_row("share of the DRAM's peak", f"{pruned.dram_share:.1%}", f"{dense.dram_share:.1%}", "")
    rows.add_row("bottleneck", pruned.bottleneck, dense.bottleneck, "")
    rows.add_section()
    for kind, names in KINDS.items():
        ours, theirs = (sum(one.bytes[part] for part in names) for one in (pruned, dense))
        if ours or theirs:
            rows.add_row(f"{kind}, KB", _kilobytes(ours), _kilobytes(theirs), _less(ours, theirs))
    ours, theirs = pruned.total_bytes, dense.total_bytes
    rows.add_row("all bytes, KB", _kilobytes(ours), _kilobytes(theirs), _less(ours, theirs), style="bold")
    rows.add_section()
    for unit in pruned.busy:
        rows.add_row(f"{unit} busy", f"{pruned.busy[unit]:.1%}", f"{dense.busy[unit]:.1%}", "")
    rest = "start and finish"
    rows.add_row(rest, f"{pruned.held[rest]:.1%}", f"{dense.held[rest]:.1%}", "")
    out().print(rows)


def _pass(name: str) -> str:
    return "token" if name == "tokens" else name


def _speed(name: str) -> list[tuple[str, Any, Any]]:
    """Rows of time: (what, value of a phase, how it is shown)."""
    time = (f"ms a {_pass(name)}", lambda one: 1e3 * one.seconds / one.passes, lambda v: f"{v:,.3f}")
    if name != "tokens":
        return [time]
    return [("tokens a second", lambda one: one.passes_a_second, lambda v: f"{v:,.1f}"), time]


def _kilobytes(count: float) -> str:
    return f"{count / 1e3:,.1f}"


def _less(ours: float, theirs: float) -> str:
    """How many times less the pruned run takes; below 1 it takes more."""
    return f"{theirs / ours:.2f}x" if ours and theirs else ""


def _show_notes(made: Comparison) -> None:
    notes = ["Attention on the device alone; predicted, not measured on a board."]
    if not made.machine.checked:
        notes.append(
            "Cycles of this machine were not compared with simulation; those of "
            "--preset ecp5-85f --clock 75 --dram ddr3-x16-512 were."
        )
    facts = [job.facts for one in made.pruned.values() for job in one.jobs]
    if made.refetch_share is not None and any(job.refetched for job in facts):
        what = "Keys" if any(job.by_key for job in facts) else "Rows"
        notes.append(f"{what} that refetch are taken as {made.refetch_share:.0%}: see --refetch-share.")
    if made.values_share is not None and any(job.limited < 1.0 for job in facts):
        notes.append(f"Values that are read are taken as {made.values_share:.0%}: see --values-share.")
    out().print(f"[dim]{' '.join(notes)}[/]")
