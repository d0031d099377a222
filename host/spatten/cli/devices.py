# SPDX-License-Identifier: BSD-2-Clause
"""``spatten devices``: what can be opened here, and the configurations it can have."""

from __future__ import annotations

from typing import Any

import typer

from spatten_drivers import DEFAULT_PRESET, PRESETS, known_devices

from .console import out, print_json, table


def devices(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """List the devices known here and the configurations of the emulator.

    Examples:

    - `spatten devices`
    - `spatten devices --json`
    - `spatten run --device 'emulator?preset=ecp5-25f' "A text."`
    """
    found = [
        {"name": name, "available": reason == "available", "reason": reason}
        for name, reason in known_devices()
    ]
    presets = [_preset(name) for name in PRESETS]
    if as_json:
        print_json({"devices": found, "presets": presets})
        return
    rows = table("Devices", "device", "state", left=2)
    for entry in found:
        rows.add_row(
            entry["name"],
            "[green]available[/]" if entry["available"] else f"[yellow]no[/]: {entry['reason']}",
        )
    out().print(rows)
    _print_presets(presets)


def _preset(name: str) -> dict[str, Any]:
    config = PRESETS[name]
    uri = f"emulator?preset={name}"
    return {
        "name": name,
        "uri": uri,
        "default": name == DEFAULT_PRESET,
        "digest": f"{config.digest:016x}",
        **config.to_dict(),
    }


def _print_presets(presets: list[dict[str, Any]]) -> None:
    rows = table(
        "Configurations: --device 'emulator?preset=NAME'",
        "preset",
        "digest",
        "lanes",
        "head dimensions",
        "tokens",
        "bits",
        "beat",
        left=2,
    )
    for preset in presets:
        rows.add_row(
            preset["name"] + ("*" if preset["default"] else ""),
            preset["digest"],
            str(preset["lanes"]),
            ", ".join(map(str, preset["head_dims"])),
            str(preset["max_sequence"]),
            str(preset["operand_bits"]),
            f"{preset['beat_bytes']} B",
        )
    out().print(rows)
    out().print("[dim]* is the default; bits are the widest K or V.[/]")
