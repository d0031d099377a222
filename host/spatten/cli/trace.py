# SPDX-License-Identifier: BSD-2-Clause
"""``spatten trace``: bytes that a workload trace of the SpAtten authors fetches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from .console import out, print_json, say, table
from .options import AsJson

if TYPE_CHECKING:
    from ..trace import Trace, Traffic

TraceFile = Annotated[Path, typer.Argument(metavar="FILE", help="A workload CSV.", show_default=False)]


def trace(file: TraceFile, as_json: AsJson = False) -> None:
    """Count the K and V bytes of a workload trace that the SpAtten authors published.

    Bytes come by kind and by layer, beside a dense run at 16 and at 32 bit.

    Examples:

    - `spatten trace gpt2-small-wikitext2-per8.csv`
    - `spatten trace gpt2-small-wikitext2-per8.csv --json`
    - `spatten trace trace.csv --json | jq .total_bytes`
    """
    from ..trace import read_trace

    found = read_trace(file)
    if found.config is None:
        say(f"the last line of {str(file)!r} names no configuration, as published traces do; is it whole?")
    if as_json:
        print_json(_trace_json(file, found))
    else:
        _show(file, found)


def _trace_json(file: Path, found: Trace) -> dict[str, Any]:
    return {
        "file": str(file),
        "config": found.config,
        "iterations": found.iterations,
        "layers": found.layers,
        "heads": found.heads,
        "head_dim": found.head_dim,
        "lengths": list(found.lengths),
        "rows_read_as_8_bit": _read_as_8_bit(found),
        **_traffic_json(found.traffic()),
        "by_layer": [
            {"layer": number, **_traffic_json(layer)} for number, layer in enumerate(found.by_layer())
        ],
    }


def _traffic_json(traffic: Traffic) -> dict[str, Any]:
    return {
        "total_bytes": traffic.total_bytes,
        "by_kind": traffic.by_kind,
        "dense_bytes_16": traffic.dense_bytes_16,
        "dense_bytes_32": 2 * traffic.dense_bytes_16,
        "ratio_16": traffic.ratio(16),
        "ratio_32": traffic.ratio(32),
        "rows": traffic.rows,
        "refetched_rows": traffic.refetched_rows,
        "keys_fetched": traffic.keys,
        "values_fetched": traffic.values,
    }


def _read_as_8_bit(found: Trace) -> dict[str, int]:
    from ..trace import WIDTHS_READ_AS_8

    return {
        "keys": sum(row.key_bits in WIDTHS_READ_AS_8 for row in found.rows),
        "values": sum(row.value_bits in WIDTHS_READ_AS_8 for row in found.rows),
    }


def _show(file: Path, found: Trace) -> None:
    out().print(
        f"[bold]{escape(file.name)}[/] · {escape(found.config or 'no configuration')}", soft_wrap=True
    )
    traffic = found.traffic()
    _show_totals(found, traffic)
    _show_kinds(traffic)
    _show_ratios(traffic)
    _show_layers(found)
    for what, rows in _read_as_8_bit(found).items():
        if rows:
            note = ", LSBs fetched" if what == "keys" else ""
            out().print(
                f"[dim]{what} of -1, 10 or 12 bits are counted as 8 bits{note}: {rows:,} rows[/]",
                soft_wrap=True,
            )


def _show_totals(found: Trace, traffic: Traffic) -> None:
    lengths = found.lengths
    rows = table("Trace", "what", "count")
    rows.add_row("generated tokens", f"{found.iterations:,}")
    rows.add_row("sequence at the first and last", f"{lengths[0]:,} to {lengths[-1]:,}")
    rows.add_row("layers", f"{found.layers:,}")
    rows.add_row("heads of a layer, before pruning", f"{found.heads:,}")
    rows.add_row("head dimension", f"{found.head_dim:,}")
    rows.add_row("rows: token, layer and head", f"{traffic.rows:,}")
    share = traffic.refetched_rows / traffic.rows
    rows.add_row("rows that fetch LSBs of K", f"{traffic.refetched_rows:,} ({share:.1%})")
    rows.add_row("K rows fetched", f"{traffic.keys:,}")
    rows.add_row("V rows fetched", f"{traffic.values:,}")
    out().print(rows)


def _show_kinds(traffic: Traffic) -> None:
    rows = table("Bytes read", "kind", "bytes", "share")
    for name, kind in (("K MSB", "read_k_msb"), ("K LSB", "read_k_lsb"), ("V", "read_v_msb")):
        count = traffic.by_kind[kind]
        rows.add_row(name, f"{count:,}", f"{count / traffic.total_bytes:.1%}")
    rows.add_section()
    rows.add_row("total", f"{traffic.total_bytes:,}", "100.0%", style="bold")
    out().print(rows)


def _show_ratios(traffic: Traffic) -> None:
    rows = table("Against a dense run", "K and V at", "dense bytes", "less")
    for bits in (16, 32):
        rows.add_row(f"{bits} bit", f"{traffic.dense_bytes_16 * bits // 16:,}", f"{traffic.ratio(bits):.2f}x")
    out().print(rows)


def _show_layers(found: Trace) -> None:
    columns = ("layer", "heads", "keys", "values", "refetch", "bytes", "16 bit", "32 bit")
    rows = table("By layer: means of heads, keys and values; less than 16 and 32 bit", *columns, left=0)
    for number, layer in enumerate(found.by_layer()):
        rows.add_row(
            str(number),
            f"{layer.rows / found.iterations:.1f}",
            f"{layer.keys / layer.rows:.1f}",
            f"{layer.values / layer.rows:.1f}",
            f"{layer.refetched_rows / layer.rows:.1%}",
            f"{layer.total_bytes:,}",
            f"{layer.ratio(16):.2f}x",
            f"{layer.ratio(32):.2f}x",
        )
    out().print(rows)
