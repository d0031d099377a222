# SPDX-License-Identifier: BSD-2-Clause
"""docs/core-fit.md: the figures of all presets that were measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .devices import DEVICES, Device
from .figures import complaints
from .netlist import RESOURCES

HEAD = """\
# What the core takes of an FPGA

Made by `make core-pnr`: the core alone, between shift registers, mapped by yosys (`synth_ecp5`) and, where a
section says so, placed and routed by nextpnr-ecp5 (router2). A figure of speed counts only after routing;
what bounds the large core, and what was tried, stands in [targets.md](targets.md).
"""
UNITS = """\
By unit, a unit being a source file. Flip-flops and memories count to the file that drives them; logic and
multipliers have no names of their own after mapping and count to the unit that most of their readers belong
to. LUTs are those of logic, two for a pair of carry bits and six for 16 words of 4 bits of RAM.
"""


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page, from figures by preset."""
    return "\n".join([HEAD, *(_section(preset, found) for preset, found in results.items())])


def _section(preset: str, found: Mapping[str, Any]) -> str:
    device = DEVICES[preset]
    texts = complaints(dict(found), device)
    verdict = "Every limit is kept." if not texts else "Not kept, or not known:"
    parts = [
        f"## `{preset}` on the {device.name}\n",
        _table(["", "taken", "limit", "the chip has"], _whole(found, device)),
        _speed(found),
        "\n".join([verdict, "", *(f"- {text}" for text in texts)]).rstrip() + "\n",
        UNITS,
        _table(["unit", *(name.upper() for name in RESOURCES)], _units(found["by_unit"])),
    ]
    return "\n".join(parts)


def _whole(found: Mapping[str, Any], device: Device) -> Iterable[list[str]]:
    rows = (
        ("LUT", "lut", device.lut_limit, device.luts),
        ("EBR", "ebr", device.ebr_limit, device.ebrs),
        ("multipliers", "mult", device.mult_limit, device.mults),
    )
    for label, key, limit, has in rows:
        yield [label, f"{found[key]:,} ({found[key] / has:.0%})", f"{limit:,}", f"{has:,}"]
    yield ["flip-flops", f"{found['ff']:,}", "", ""]


def _units(units: Mapping[str, Mapping[str, int]]) -> Iterable[list[str]]:
    for unit, taken in units.items():
        yield [f"`{unit}`" if "." in unit else unit, *(f"{taken[name]:,}" for name in RESOURCES)]


def _speed(found: Mapping[str, Any]) -> str:
    more = f", with `{' '.join(found['options'])}`" if found["options"] else ""
    aim = f"nextpnr aimed at {found['freq']:g} MHz, seed {found['seed']}{more}."
    if found["tiles"]:
        aim += f" Placed with {found['tiles']:,} tiles of wire."
    if found["fmax"] is not None:
        return f"**{found['fmax']:.1f} MHz after routing.** {aim}\nSlowest path: {found['critical_path']}.\n"
    if found["fmax_placed"] is None:
        return f"**No figure of speed: {found['unrouted']}.**\n"
    return (
        f"**No figure of speed after routing: {found['unrouted']}.** {aim} After placement it estimated\n"
        f"{found['fmax_placed']:.1f} MHz, which is no result.\n"
    )


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
