# SPDX-License-Identifier: BSD-2-Clause
"""``spatten bitstreams``: what is here, whether it is whole, and whether it can be built again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from .console import out, print_json, progress, say, table
from .options import AsJson

if TYPE_CHECKING:
    from ..shelf import Shelved

Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder", metavar="FOLDER", help="With a folder a board; $SPATTEN_BITSTREAMS, or that of this tree."
    ),
]


def bitstreams(
    folder: Folder = None,
    rebuild: Annotated[
        str | None,
        typer.Option(metavar="BOARD", help="Build it again from its commit and compare every byte."),
    ] = None,
    this_tree: Annotated[
        bool, typer.Option("--this-tree", help="Build it from the tree as it is, not from its commit.")
    ] = False,
    work: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where it is built; not below /tmp, which the tools miss.")
    ] = Path("build"),
    as_json: AsJson = False,
) -> None:
    """List the bitstreams that are here and verify them: every file, the digest, the ABI.

    Exit code 1 if one is damaged, or if what was built again differs.

    Examples:

    - `spatten bitstreams`
    - `spatten bitstreams --json`
    - `spatten bitstreams --rebuild ecpix5`
    """
    from ..shelf import default_folder, shelf

    place = folder or default_folder()
    if this_tree and rebuild is None:
        raise typer.BadParameter("--this-tree says what --rebuild BOARD builds from: give that too")
    if rebuild is not None:
        _rebuild(place, rebuild, work, this_tree, as_json)
        return
    found = shelf(place)
    if as_json:
        print_json({"folder": str(place), "bitstreams": [one.to_dict() for one in found]})
    elif found:
        _show(place, found)
    else:
        out().print(
            f"There is no bitstream in {place} yet. Build one and put it there: make bitstream BOARD=ecpix5, "
            "or python3 -m spatten_fpga.targets.ecpix5 --build",
            soft_wrap=True,
            markup=False,
        )
    raise typer.Exit(1 if any(one.problems for one in found) else 0)


def _rebuild(place: Path, board: str, work: Path, this_tree: bool, as_json: bool) -> None:
    from ..shelf import chosen, other_tools
    from ..shelf import rebuild as build_again

    bitstream = chosen(place, board)
    for words in other_tools(bitstream):
        say(f"warning: {words}, so bytes may differ")
    say(f"building {bitstream.board} again, which takes minutes: {bitstream.record['rebuild']}")
    with progress(1) as bar:
        bar.update(bar.task_ids[0], description=f"building {bitstream.board}")
        built = build_again(bitstream, work, this_tree)
    if as_json:
        print_json(
            {"board": bitstream.board, "equal": not built.differences, "differences": built.differences}
        )
    elif not built.differences:
        out().print(f"[green]equal[/]: {', '.join(bitstream.files)} have the same bytes", soft_wrap=True)
    else:
        for words in built.differences:
            out().print(f"[bold red]differs[/] {escape(words)}", soft_wrap=True)
        say(
            f"what was built is in {built.folder}; the shipped one is of commit "
            f"{bitstream.record['source_commit'][:12]} with {_tools(bitstream.record['tools'])}"
        )
    raise typer.Exit(1 if built.differences else 0)


def _tools(tools: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in tools.items())


def _show(place: Path, found: list[Shelved]) -> None:
    rows = table(
        f"Bitstreams in {escape(str(place))}",
        *("board", "device", "core", "verdict", "MHz", "margin", "LUT", "bytes"),
        left=4,
    )
    for one in found:
        verdict = "[bold red]damaged[/]" if one.problems else "[green]good[/]"
        if one.bitstream is None:
            rows.add_row(one.name, "", "", verdict, "", "", "", "")
            continue
        record, luts = one.bitstream.record, one.lut_share
        rows.add_row(
            one.name,
            escape(record["device"]),
            escape(record["preset"]),
            verdict,
            f"{record['clock_hz'] / 1e6:g}",
            f"{one.margin:.1%}",
            "" if luts is None else f"{luts:.0%}",
            f"{one.size:,}",
        )
    out().print(rows)
    for one in found:
        for problem in one.problems:
            out().print(f"[bold red]damaged[/] {escape(one.name)}: {escape(problem)}", soft_wrap=True)
    out().print(
        "[dim]Margin is the least of all clocks, by place and route; none was measured on a board.[/]"
    )
