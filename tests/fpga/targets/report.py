# SPDX-License-Identifier: BSD-2-Clause
"""``python -m tests.fpga.targets.report``: docs/boards.md from manifests and from the plan's predictions."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from spatten.plan import Machine, Phase, machine, model_shape, plan_text
from spatten.presets import preset
from spatten_drivers.config import PRESETS, AcceleratorConfig
from spatten_drivers.errors import SpattenError
from spatten_fpga.targets import NAMES, find
from spatten_fpga.targets.board import Board

HEAD = """\
# Boards

Made by `make boards` from the manifests in `bitstreams/` and from `spatten plan`. Size and speed are those of
the tools' reports after routing. **Nothing here was measured on a board**: what is said of speed in use is
predicted by the plan, whose cycles were compared with simulation for another core and clock
([plan.md](plan.md)).

A board is built by `make bitstream BOARD=ecpix5`; by `make seeds BOARD=ecpix5 SEEDS="1 2 3 4"` with several
placements, of which the best is kept.
"""
PREDICTED = """\
## Predicted

By `spatten plan`, not measured: attention on the device alone, without the host's layers and the way of rows
to the device. MiniLM on 64 tokens, GPT-2-small with a prompt of 128 and 32 tokens generated; pruned by the
paper's schedules, dense in 8 bits. The share is that of the DRAM's peak, pruned.

"""
SOURCED = """\
## Price and power

What others state, each with its source; nothing here was bought or measured by us, and no figure of a board
under such a load was found. At rest the core supply of an LFE5U-85F draws 212 mA, typically (Lattice
FPGA-DS-02012, table 3.8, as read in two projects' design notes, not in the table itself), which is 0.23 W at
1.1 V; what it draws in use only a board or Lattice's calculator can tell.

"""
#: By board: price, and power with where it is stated.
OUTLAY = {
    "ecpix5": ("150 EUR, its maker's shop, out of stock in August 2026", "not found"),
    "butterstick": ("180 USD, GroupGets campaign of 2021; not sold now", "not found; fed with 5 V by USB-C"),
    "orangecrab": (
        "120 to 140 USD, of some variant; the 85F is out of production",
        "0.55 to 1.45 W at a test of memory, by a USB meter, variant not stated (litedram, issue 216)",
    ),
    "ulx3s": (
        "275 USD, Crowd Supply, August 2026",
        "5 V, 0.5 A are enough with everything on the board in use (emard/ulx3s, doc/MANUAL.md): 2.5 W",
    ),
    "colorlight_i5": (
        "50 USD with its carrier (tomverbeure.github.io, January 2021)",
        "not found; a 5A-75E with the same chip, LiteX and Ethernet: 1.2 W (q3k/chubby75, issue 59)",
    ),
    "colorlight_i9": ("40 to 80 USD with its carrier, marketplaces, August 2026", "not found"),
}
#: Kinds of cells by their name in nextpnr's report.
CELLS = {"LUT": "TRELLIS_COMB", "FF": "TRELLIS_FF", "EBR": "DP16KD", "multipliers": "MULT18X18D"}
PLANS = (
    ("minilm", 64, 0, "paper-bert", "sentence"),
    ("gpt2-small", 128, 32, "paper-gpt2", "tokens"),
)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--bitstreams", type=Path, default=Path("bitstreams"), help="folder with the manifests"
    )
    parser.add_argument(
        "--page", type=Path, default=Path("docs/boards.md"), help="what to write (%(default)s)"
    )
    given = parser.parse_args()
    built = {name: _manifest(given.bitstreams / name) for name in NAMES}
    given.page.write_text(page({name: found for name, found in built.items() if found}), "utf-8")


def _manifest(folder: Path) -> dict[str, Any] | None:
    path = folder / "manifest.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def page(built: Mapping[str, Mapping[str, Any]]) -> str:
    """The page of all boards, of which ``built`` has the manifests by name."""
    return "\n".join([HEAD, _sizes(built), _clocks(built), _predictions(built), _systems(), _outlay()])


def _table(*rows: tuple[str, ...]) -> str:
    head, *rest = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rest)) + "\n"


def _sizes(built: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name in NAMES:
        if name not in built:
            rows.append((name, find(name).preset, *("not built yet",) * len(CELLS)))
            continue
        used = built[name]["utilisation"]
        cells = (f"{used[cell][0]:,} ({used[cell][0] / used[cell][1]:.0%})" for cell in CELLS.values())
        rows.append((name, built[name]["preset"], *cells))
    return "## Size\n\nUsed, and the share of what the chip has.\n\n" + _table(
        ("board", "preset", *CELLS), *rows
    )


def _clocks(built: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name in (name for name in NAMES if name in built):
        record = built[name]
        spread = _spread(record)
        for clock, mhz in record["clocks"].items():
            told = (f"{mhz['asked_mhz']:.1f}", f"{mhz['reached_mhz']:.1f}", f"{mhz['margin']:+.1%}")
            rows.append((name, clock, *told, spread if clock == "sys" else ""))
    head = ("board", "clock", "asked, MHz", "reached, MHz", "margin", "sys by seed, MHz")
    return "## Clocks\n\n" + (_table(head, *rows) if rows else "No board was built yet.\n")


def _spread(record: Mapping[str, Any]) -> str:
    """MHz by seed, and the seeds that could not be routed; manifests did not always name these."""
    told = {seed: f"{mhz:.1f}" for seed, mhz in record["seeds"].items()}
    told |= {seed: "not routed" for seed, margin in record.get("seed_margins", {}).items() if margin is None}
    return ", ".join(f"{seed}: {words}" for seed, words in told.items())


def _predictions(built: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name in NAMES:
        planned = machine_of(find(name), built.get(name))
        peak = f"{planned.peak_bytes / 1e6:,.0f}"
        shown = [text for plan in PLANS for text in _planned(planned, *plan)]
        rows.append((name, f"{planned.clock / 1e6:g}", planned.dram.name, peak, *shown))
    head = ("board", "MHz", "DRAM", "peak, MB/s")
    head += ("MiniLM, ms a sentence, dense", "pruned", "DRAM share")
    head += ("GPT-2-small, tokens/s, dense", "pruned", "DRAM share")
    return PREDICTED + _table(head, *rows)


def machine_of(board: Board, built: Mapping[str, Any] | None = None) -> Machine:
    """What the plan is to know of a board: as it was built, else as its target would build it."""
    planned = machine(board.name)
    if built is None:
        return planned
    config = AcceleratorConfig.from_dict(built["config"], built["abi"])
    return replace(planned, config=config, clock=built["clock_hz"])


def _planned(board: Machine, model: str, prompt: int, generate: int, schedule: str, phase: str) -> list[str]:
    shape = model_shape(model)
    rules = [preset(name, shape.layers, prompt) for name in (schedule, "dense-8bit")]
    try:
        made = plan_text(board, shape, *rules, prompt, generate)
    except SpattenError as error:
        return [str(error).partition(". To mend it")[0], "", ""]
    pruned, dense = made.pruned[phase], made.dense[phase]
    return [_speed(dense, phase), _speed(pruned, phase), f"{pruned.dram_share:.0%}"]


def _speed(one: Phase, phase: str) -> str:
    return f"{one.passes_a_second:,.0f}" if phase == "tokens" else f"{1e3 * one.seconds / one.passes:.2f}"


def _systems() -> str:
    rows = []
    for name in NAMES:
        board = find(name)
        config: AcceleratorConfig = PRESETS[board.preset]
        core = f"{config.lanes} + {config.lanes} multipliers, {config.max_sequence} slots"
        chips = ", ".join(board.memory.chips)
        rows.append((name, board.title, core, chips, board.memory.rate, ", ".join(board.links)))
    head = ("board", "is", "core", "DRAM chips", "rate", "links")
    return "## What each target builds\n\n" + _table(head, *rows)


def _outlay() -> str:
    return SOURCED + _table(("board", "price", "power"), *((name, *OUTLAY[name]) for name in NAMES))


if __name__ == "__main__":
    main()
