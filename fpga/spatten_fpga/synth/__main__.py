# SPDX-License-Identifier: BSD-2-Clause
"""``python -m spatten_fpga.synth``: the core of a preset alone on its FPGA."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spatten_drivers.errors import SpattenError

from .devices import DEVICES
from .figures import complaints, figures
from .flow import Aim, Layout, lay_out, synthesise
from .page import page

EPILOG = """\
examples:
  python -m spatten_fpga.synth --preset ecp5-85f
  python -m spatten_fpga.synth --preset ecp5-85f --no-route --seed 3     # an estimate, much sooner
  python -m spatten_fpga.synth --preset ecp5-25f --no-place              # what it takes, minutes
  python -m spatten_fpga.synth --preset ecp5-85f -- --placer static      # options of nextpnr

Figures go to --json, where those of other presets stay; the page is made from all of them.

exit codes: 0 every limit is kept, 1 one is missed or not known to be kept, 2 a wrong call, a tool failed
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; the exit code."""
    given = _parser().parse_args(arguments)
    device, say = DEVICES[given.preset], _teller(given.preset)
    aim = Aim(given.freq or device.freq or 90.0, given.seed, tuple(given.options))
    try:
        netlist = synthesise(given.preset, given.work / given.preset, say)
        layout = Layout(None, None, (), "the core was not placed")
        if not given.no_place:
            route = not given.no_route
            layout = lay_out(netlist, device, aim, given.patience, route, say)
    except SpattenError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    found = figures(device, netlist, layout, aim)
    _write(given.preset, found, given.json, given.page)
    texts = complaints(found, device)
    for text in texts or ["every limit is kept"]:
        say(text)
    return 1 if texts else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m spatten_fpga.synth",
        description="Synthesise, place and route the core of a preset alone on its FPGA.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--preset", choices=DEVICES, default="ecp5-85f", help="which core (%(default)s)")
    parser.add_argument(
        "--freq", type=float, metavar="MHZ", help="aim of the placement (limit of the preset)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the placement (%(default)s)")
    parser.add_argument(
        "--patience",
        type=float,
        default=4 * 3600.0,
        metavar="S",
        help="most seconds of nextpnr (%(default)g)",
    )
    parser.add_argument("options", nargs="*", metavar="-- OPTION", help="more options of nextpnr")
    parser.add_argument("--no-route", action="store_true", help="stop after the placement")
    parser.add_argument("--no-place", action="store_true", help="stop after the synthesis")
    parser.add_argument("--work", type=Path, default=Path("build/synth"), help="folder of netlists and logs")
    parser.add_argument(
        "--json", type=Path, default=Path("build/core-pnr.json"), help="figures (%(default)s)"
    )
    parser.add_argument("--page", type=Path, default=Path("docs/core-fit.md"), help="page (%(default)s)")
    return parser


def _teller(preset: str) -> Callable[[str], None]:
    start = time.monotonic()

    def say(text: str) -> None:
        sys.stdout.write(f"{preset} {time.monotonic() - start:6.0f} s  {text}\n")
        sys.stdout.flush()

    return say


def _write(preset: str, found: dict[str, Any], numbers: Path, document: Path) -> None:
    results = json.loads(numbers.read_text()) if numbers.exists() else {}
    results = dict(sorted({**results, preset: found}.items(), reverse=True))
    for path, text in ((numbers, json.dumps(results, indent=2) + "\n"), (document, page(results))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
