# SPDX-License-Identifier: BSD-2-Clause
"""Runs as rich tables, as JSON, and as sections of the report."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from ..demo import Demo, Search, Writing
from ..report import Section
from ..report.build import KIND_NAMES, headline, heads_alive, layer_rows
from ..report.write import readable_bytes
from ..runs.tasks import Run, TextRun
from .console import table

#: Under the table of layers: with refetch by key a single likely key makes its row count.
REFETCHED = "refetched: rows (head x query) that went back for LSBs of at least one key"


def show_run(console: Console, run: Run) -> None:
    """Outputs of every text, then what was pruned and read."""
    console.print(
        f"[bold]{escape(run.model)}[/] · {run.task} · schedule {escape(run.schedule)} · {escape(run.device)}"
    )
    _OUTPUTS[run.task](console, run)
    show_traffic(console, [run])
    show_pruning(console, run)


def _show_embeddings(console: Console, run: Run) -> None:
    rows = table("Embeddings", "text", "tokens", "dimensions", "first values", left=1)
    for text in run.texts:
        vector = text.output["embedding"]
        first = " ".join(f"{value:+.3f}" for value in vector[:4])
        rows.add_row(_short(text), str(len(text.words)), str(len(vector)), f"{first} …")
    console.print(rows)


def _show_similarity(console: Console, run: Run) -> None:
    rows = table("Cosine similarity", "text", *(str(number) for number in range(1, len(run.texts) + 1)))
    for number, (text, line) in enumerate(zip(run.texts, run.similarity or [], strict=True), 1):
        rows.add_row(f"{number}  {_short(text)}", *(f"{value:.3f}" for value in line))
    console.print(rows)


def _show_labels(console: Console, run: Run) -> None:
    rows = table("Labels", "text", "label", "probability", left=2)
    for text in run.texts:
        label = text.output["label"]
        rows.add_row(_short(text), escape(label), f"{text.output['scores'][label]:.3f}")
    console.print(rows)


def _show_generated(console: Console, run: Run) -> None:
    for text in run.texts:
        console.print(Text.assemble((text.text, "dim"), (text.output["generated"], "bold")), soft_wrap=True)
        console.print(f"[dim]{text.output['new_tokens']} tokens in {text.seconds:.1f} s[/]")


_OUTPUTS = {
    "embedding": _show_embeddings,
    "similarity": _show_similarity,
    "classification": _show_labels,
    "generation": _show_generated,
}


def show_traffic(console: Console, runs: list[Run]) -> None:
    """K/V bytes of runs beside the dense run at 16 and at 32 bit."""
    rows = table(
        "DRAM traffic: K and V against a dense run at 16 and at 32 bit",
        *("model", "schedule", "K+V read", "less than 16 bit", "less than 32 bit", "all traffic"),
        left=2,
    )
    for run in runs:
        n = headline(run.record)
        rows.add_row(
            escape(run.model),
            escape(run.schedule),
            readable_bytes(n["kv_bytes"]),
            f"{n['ratio_16']:.2f}x",
            f"{n['ratio_32']:.2f}x",
            readable_bytes(n["total_bytes"]),
        )
    console.print(rows)


def show_pruning(console: Console, run: Run) -> None:
    """Tokens and heads alive in each layer, their bytes, values read of live keys, rows that refetched."""
    rows = table(
        f"What {escape(run.schedule)} pruned in {escape(run.model)}",
        "layer",
        "tokens alive",
        "heads alive",
        "K+V read",
        "to 16 bit",
        "V read",
        "refetched",
        left=0,
    )
    layers = layer_summary(run)
    if any(layer["refetch_share"] for layer in layers):
        rows.caption = REFETCHED
    for layer in layers:
        rows.add_row(
            str(layer["layer"]),
            f"{layer['tokens_share']:.0%}",
            f"{layer['heads']:.1f} of {run.heads}",
            readable_bytes(layer["kv_bytes"]),
            f"{layer['ratio_16']:.2f}x",
            f"{layer['values_read_share']:.0%}",
            f"{layer['refetch_share']:.1%}",
        )
    console.print(rows)


def layer_summary(run: Run) -> list[dict[str, Any]]:
    """Per layer: mean share of tokens and number of heads alive, bytes, values read, refetches."""
    jobs = run.record.layers
    heads = heads_alive(jobs, run.layers, run.heads)
    names = ("layer", "tokens_share", "kv_bytes", "dense_bytes_16", "ratio_16", "values_read_share")
    names += ("refetch_share",)
    return [
        {**{name: row[name] for name in names}, "heads": sum(alive)}
        for row, alive in zip(layer_rows(jobs, run.layers), heads, strict=True)
    ]


def run_json(run: Run) -> dict[str, Any]:
    """A run as JSON: outputs, headline numbers, layers."""
    return {
        "model": run.model,
        "task": run.task,
        "schedule": run.schedule,
        "device": run.device,
        "config_digest": run.config_digest,
        "answers_digest": run.record.digest,
        "traffic": {**headline(run.record), "by_kind": _by_kind(run)},
        "layers": layer_summary(run),
        "similarity": run.similarity,
        "texts": [_text_json(text) for text in run.texts],
    }


def _by_kind(run: Run) -> dict[str, int]:
    sums = run.record.totals()
    return {kind: sums[kind] for kind in KIND_NAMES}


def _text_json(text: TextRun) -> dict[str, Any]:
    return {
        "label": text.label,
        "text": text.text,
        "tokens": len(text.words),
        "seconds": round(text.seconds, 4),
        **text.output,
        "traffic": headline(text.record),
    }


def demo_json(demo: Demo) -> dict[str, Any]:
    """Both halves of the demo as JSON."""
    return {
        "search": {
            "answers": [asdict(answer) for answer in demo.search.answers],
            "cosine_to_dense": demo.search.agreement,
            "runs": [run_json(demo.search.dense), run_json(demo.search.pruned)],
        },
        "writing": {"runs": [run_json(demo.writing.dense), run_json(demo.writing.pruned)]},
    }


def show_demo(console: Console, demo: Demo) -> None:
    """What was found and written, what was pruned, what it took."""
    search, writing = demo.search, demo.writing
    console.print(f"[bold]Attention on {escape(search.dense.device)}[/]\n")
    rows = table("Passages that MiniLM finds", "question", "dense", "paper-bert", "cosine", left=3)
    for answer in search.answers:
        rows.add_row(
            answer.question,
            answer.dense,
            answer.pruned,
            f"{answer.dense_score:.2f} / {answer.pruned_score:.2f}",
        )
    console.print(rows)
    console.print(f"Embeddings keep a cosine of {min(search.agreement):.3f} or more to the dense ones.\n")
    show_pruning(console, search.pruned)
    for run in (writing.dense, writing.pruned):
        console.print(f"\n[bold]{escape(run.model)} writes, schedule {run.schedule}[/]")
        _show_generated(console, run)
    console.print()
    show_pruning(console, writing.pruned)
    show_traffic(console, [search.dense, search.pruned, writing.dense, writing.pruned])


def demo_sections(demo: Demo) -> list[Section]:
    """The two sections of the demo's report: both pruned runs, each compared with its dense one."""
    return [_search_section(demo.search), _writing_section(demo.writing)]


def _search_section(search: Search) -> Section:
    same = sum(answer.dense == answer.pruned for answer in search.answers)
    lead = (
        f"MiniLM embeds passages and questions. With pruning {same} of {len(search.answers)} questions find "
        "the same passage as without, and every embedding keeps a cosine of "
        f"{min(search.agreement):.3f} or more to the dense one."
    )
    rows = [
        [a.question, f"{a.dense} ({a.dense_score:.2f})", f"{a.pruned} ({a.pruned_score:.2f})"]
        for a in search.answers
    ]
    table_ = ("What each question finds", ["question", "dense, 12 bit", "pruned"], rows)
    return Section(
        "BERT reads: passage search",
        search.pruned,
        lead,
        [table_, _against_dense(search.dense, search.pruned)],
    )


def _writing_section(writing: Writing) -> Section:
    lead = "A small GPT-2 writes on from a prompt, once dense and once pruned, with the same seed."
    rows = [
        [_unbroken(run.schedule), run.texts[0].output["generated"]] for run in (writing.dense, writing.pruned)
    ]
    table_ = ("What it wrote", ["schedule", "text"], rows)
    return Section(
        "GPT-2 writes", writing.pruned, lead, [table_, _against_dense(writing.dense, writing.pruned)]
    )


def _against_dense(dense: Run, pruned: Run) -> tuple[str, list[str], list[list[str]]]:
    rows = []
    for run in (dense, pruned):
        n = headline(run.record)
        rows.append(
            [run.schedule, readable_bytes(n["kv_bytes"]), f"{n['ratio_16']:.2f}×", f"{n['ratio_32']:.2f}×"]
        )
    columns = ["schedule", "K and V read", "less than dense 16 bit", "less than dense 32 bit"]
    return "What it took", columns, rows


def _short(text: TextRun) -> str:
    words = " ".join(text.text.split())
    return escape(words if len(words) <= 44 else f"{words[:43]}…")


def _unbroken(name: str) -> str:
    """A name that no line break divides at its hyphens."""
    return name.replace("-", "\u2011")
