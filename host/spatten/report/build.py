# SPDX-License-Identifier: BSD-2-Clause
"""Everything the report shows, as plain JSON-able dictionaries; the template only lays it out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..record import KV_KINDS, LayerRecord, RunRecord, totals
from ..runs.tasks import Run, TextRun
from ..runs.words import Word

#: Steps of the colour scale of words, from never read to read by every layer.
LEVELS = 10

KIND_NAMES = {
    "read_k_msb": "K, MSB plane",
    "read_k_lsb": "K, LSB plane (refetched)",
    "read_v_msb": "V, MSB plane",
    "read_v_lsb": "V, LSB plane",
    "read_q": "Q",
    "read_importance": "importance, read",
    "read_control": "descriptors",
    "written_output": "output, written",
    "written_importance": "importance, written",
    "written_control": "answers, written",
}


@dataclass(frozen=True)
class Header:
    """What ran, in words: shown at the top and the bottom of the page."""

    title: str
    command: str
    date: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Section:
    """One run and what is to be said about it.

    ``tables`` are (caption, column names, rows of cells); the first column is text, others may be numbers.
    """

    title: str
    run: Run
    lead: str = ""
    tables: list[tuple[str, list[str], list[list[str]]]] = field(default_factory=list)


def build_report(header: Header, sections: Sequence[Section]) -> dict[str, Any]:
    """The report of ``sections`` as a plain dictionary."""
    return {
        "header": asdict(header),
        "levels": LEVELS,
        "sections": [_section(section) for section in sections],
    }


def _section(section: Section) -> dict[str, Any]:
    run, jobs = section.run, section.run.record.layers
    return {
        "title": section.title,
        "lead": section.lead,
        "tables": [{"caption": c, "columns": columns, "rows": rows} for c, columns, rows in section.tables],
        "model": run.model,
        "task": run.task,
        "schedule": run.schedule,
        "device": run.device,
        "config_digest": run.config_digest,
        "digest": run.record.digest[:16],
        "layer_count": run.layers,
        "head_count": run.heads,
        "jobs": len(jobs),
        "seconds": round(sum(text.seconds for text in run.texts), 2),
        "headline": headline(run.record),
        "kinds": _kinds(jobs),
        "layers": layer_rows(jobs, run.layers),
        "heads": heads_alive(jobs, run.layers, run.heads),
        "similarity": run.similarity,
        "texts": [_text(text, run) for text in run.texts],
    }


def headline(record: RunRecord) -> dict[str, Any]:
    """The numbers at the top of a section; ratios name the precision of the dense run they compare with."""
    sums = record.totals()
    reads = sums["keys_fetched"] + sums["keys_skipped"], sums["values_fetched"] + sums["values_skipped"]
    return {
        "kv_bytes": sums["kv_bytes"],
        "total_bytes": sums["total_bytes"],
        "dense_bytes_16": sums["dense_bytes_16"],
        "dense_bytes_32": 2 * sums["dense_bytes_16"],
        "ratio_16": record.ratio(16),
        "ratio_32": record.ratio(32),
        "refetch_share": _share(sums["refetched_rows"], sums["rows"]),
        "values_read_share": _share(sums["values_fetched"], sums["keys_fetched"]),
        "keys_skipped_share": _share(sums["keys_skipped"], reads[0]),
        "values_skipped_share": _share(sums["values_skipped"], reads[1]),
    }


def _kinds(jobs: Sequence[LayerRecord]) -> list[dict[str, Any]]:
    sums = totals(jobs)
    return [
        {"kind": kind, "name": name, "bytes": sums[kind], "share": _share(sums[kind], sums["total_bytes"])}
        for kind, name in KIND_NAMES.items()
    ]


def layer_rows(jobs: Sequence[LayerRecord], layers: int) -> list[dict[str, Any]]:
    """Bytes, values read of the live keys and refetches by layer.

    ``parts`` are widths in percent of this layer's dense run at 32 bit.
    """
    grouped: dict[int, list[LayerRecord]] = defaultdict(list)
    for job in jobs:
        grouped[job.layer].append(job)
    rows = []
    for layer in range(layers):
        sums = totals(grouped[layer])
        dense_32 = 2 * sums["dense_bytes_16"]
        rows.append(
            {
                "layer": layer,
                "kv_bytes": sums["kv_bytes"],
                "dense_bytes_16": sums["dense_bytes_16"],
                "ratio_16": _share(sums["dense_bytes_16"], sums["kv_bytes"]),
                "parts": [{"kind": kind, "percent": 100 * _share(sums[kind], dense_32)} for kind in KV_KINDS],
                "values_read_share": _share(sums["values_fetched"], sums["keys_fetched"]),
                "refetch_share": _share(sums["refetched_rows"], sums["rows"]),
                "tokens_share": _mean([_share(len(job.keys), job.slots) for job in grouped[layer]]),
            }
        )
    return rows


def heads_alive(jobs: Sequence[LayerRecord], layers: int, heads: int) -> list[list[float]]:
    """``[layer][head]``: share of the layer's jobs that computed the head."""
    seen, counts = [[0] * heads for _ in range(layers)], [0] * layers
    for job in jobs:
        counts[job.layer] += 1
        for head in job.heads:
            seen[job.layer][head] += 1
    return [[_share(count, counts[layer]) for count in row] for layer, row in enumerate(seen)]


def _text(text: TextRun, run: Run) -> dict[str, Any]:
    jobs = text.record.layers
    steps = [job for job in jobs if job.step > 0]
    generated = bool(steps)
    shares = _attended(text.words, steps or jobs)
    return {
        "label": text.label,
        "tokens": len(text.words),
        "seconds": round(text.seconds, 3),
        "output": {name: value for name, value in text.output.items() if name != "embedding"},
        "generated": generated,
        "words": [_word(word, share, generated) for word, share in zip(text.words, shares, strict=True)],
        "rows": _rows(
            text.words, [job for job in steps if job.step == steps[-1].step] if generated else jobs
        ),
        "headline": headline(text.record),
    }


def _attended(words: Sequence[Word], jobs: Sequence[LayerRecord]) -> list[float | None]:
    """For each token the share of the jobs it existed in that read it; ``None`` where no job saw it."""
    read, possible = [0] * len(words), [0] * len(words)
    for job in jobs:
        for slot in range(job.slots):
            possible[slot] += 1
        for slot in job.keys:
            read[slot] += 1
    return [r / p if p else None for r, p in zip(read, possible, strict=True)]


def _word(word: Word, share: float | None, generated: bool) -> dict[str, Any]:
    what = "of the steps' layers read it" if generated else "of the layers kept it"
    return {
        **asdict(word),
        "level": 0 if share is None else round(share * LEVELS),
        "unread": share is None,
        "hint": "written last, read by no step" if share is None else f"{share:.0%} {what}",
    }


def _rows(words: Sequence[Word], jobs: Sequence[LayerRecord]) -> list[dict[str, Any]]:
    """One row per layer: which words it read."""
    rows = []
    for job in jobs:
        alive = set(job.keys)
        shown = [{**asdict(word), "alive": slot in alive} for slot, word in enumerate(words[: job.slots])]
        rows.append({"layer": job.layer, "alive": len(alive), "of": job.slots, "words": shown})
    return rows


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
