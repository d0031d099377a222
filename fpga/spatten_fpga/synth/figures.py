# SPDX-License-Identifier: BSD-2-Clause
"""The figures of a core on its chip, and which limits they keep."""

from __future__ import annotations

from typing import Any

from .devices import Device
from .flow import Aim, Layout, Netlist
from .netlist import by_unit, totals
from .timing import in_words


def figures(device: Device, netlist: Netlist, layout: Layout, aim: Aim) -> dict[str, Any]:
    """What was measured; ``None`` stands for what was not.

    Keys: ``device``, ``lut``, ``ff``, ``ebr``, ``mult``, ``by_unit``, ``freq`` that was aimed at, ``seed``,
    ``options`` of nextpnr besides, ``tiles`` of wire after placement, ``fmax_placed`` (an estimate), ``fmax``
    (after routing), ``critical_path`` in words, ``unrouted`` (why there is no ``fmax``) and ``limits``: for
    each whether it is kept, ``None`` if that is not known.
    """
    cells = netlist.module["cells"]
    taken = totals(cells)
    return {
        "device": device.name,
        **taken,
        "by_unit": by_unit(cells, netlist.owners),
        "freq": aim.freq,
        "seed": aim.seed,
        "options": list(aim.options),
        "tiles": layout.tiles,
        "fmax_placed": layout.placed,
        "fmax": layout.routed,
        "critical_path": in_words(layout.path, netlist.owners) if layout.path else None,
        "unrouted": layout.reason,
        "limits": _limits(device, taken, layout.routed),
    }


def _limits(device: Device, taken: dict[str, int], fmax: float | None) -> dict[str, bool | None]:
    kept: dict[str, bool | None] = {
        "lut": taken["lut"] <= device.lut_limit,
        "ebr": taken["ebr"] <= device.ebr_limit,
        "mult": taken["mult"] <= device.mult_limit,
    }
    if device.freq:
        kept["fmax"] = None if fmax is None else fmax >= device.freq
    return kept


def complaints(found: dict[str, Any], device: Device) -> list[str]:
    """A sentence for each limit that is missed or not known to be kept."""
    asked = {
        "lut": f"at most {device.lut_limit:,} LUTs",
        "ebr": f"at most {device.ebr_limit} block RAMs",
        "mult": f"at most {device.mult_limit} multipliers",
        "fmax": f"at least {device.freq:g} MHz",
    }
    texts = []
    for name, kept in found["limits"].items():
        if kept is None:
            texts.append(f"{asked[name]}: not known, {found['unrouted']}")
        elif not kept:
            value = found[name]
            texts.append(f"{asked[name]}: missed, {value:,}" if value is not None else asked[name])
    return texts
