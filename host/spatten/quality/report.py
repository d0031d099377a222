# SPDX-License-Identifier: BSD-2-Clause
"""The study as markdown and as JSON. Every sentence about a loss is computed from the paired intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..report.markdown import markdown_table
from .metrics import Estimate, Metric
from .rows import FLOAT, LEAN, RECENT, Row
from .study import Cell, Plan
from .tasks import Task

METHOD = """\
Made by `{command}` (seed {seed}). The models are not tuned for pruning or for fewer bits: MiniLM frozen,
mean-pooled over all tokens (a pruned one with the state that it left with), and a logistic regression that is
trained once, on float embeddings; passages by inner product of the same embeddings; the small GPT-2 of this
project on windows of text that it was not trained on. The front of a window is read whole, its last tokens
are fed one by one through the K/V cache: every scored token feels the pruning of a generation step.

Every row sees the same examples. Brackets are 95 % intervals: Wilson's for shares, bootstrap over windows
for perplexity. The change is against float, example by example (exact McNemar interval, or paired
bootstrap); a row has **lost** where that interval excludes zero. K/V bytes are those that the device read,
as a factor below dense 32 and 16 bit.

Five choices were made on examples that are set aside and not counted here (`--development` shows them):
pooling over all tokens (survivors alone lost 6.3 points of sentiment at tokens -30%, not 2.0; `spatten run`
pools survivors), sparing {recent} recent tokens (0, 16 and 64 were tried), the {many} recent tokens and the
decay of {decay:g} a step of *lean* rows (32, 64 and 128; 0.3 and 0.7 were tried), which combinations of bits
and tokens stand at the end of the list, and of *by key* rows all numbers: V of 4 bit (6 and 8 were tried),
keys above 1/64 (1/32, 1/128), values above 0.003 (0.01, 0.03), 40 % of the tokens dropped (50 and 60), and
louder rows clamped, for a scale that doubles costs V a bit of four: +1.3 and +1.7 % on windows set aside of
the two texts, not -0.1 and +0.6 %. V, keys and values were chosen in float as well ([rules.md](rules.md)),
on windows of another seed, of which 3 of State of the Union and 16 of Moby Dick are among the 32 counted
here.{note}"""

DEVELOPMENT_NOTE = """

**These are the examples set aside for making choices: report no result from this page.**"""

CAUTION = """\
"No change shown" is not "no change": the interval says how much could hide in it. Of {count} comparisons at
95 %, about {chance:.0f} would look like a change by chance alone."""


@dataclass(frozen=True)
class Line:
    """One row of one task's table, everything counted."""

    row: Row
    cell: Cell
    quality: Estimate
    change: Estimate
    verdict: str


def lines_of(task: Task, rows: Sequence[Row], cells: Sequence[Cell]) -> list[Line]:
    """The lines of a task's table, in the order of ``rows``, each against the float baseline."""
    mine = {cell.row: cell for cell in cells if cell.task == task.name}
    baseline = mine[FLOAT.name]
    found = []
    for row in rows:
        cell = mine[row.name]
        change = cell.change(task, baseline)
        found.append(Line(row, cell, cell.quality(task), change, task.metric.verdict(change)))
    return found


def study_markdown(plan: Plan, cells: Sequence[Cell], command: str, plot: str) -> str:
    """The whole of docs/quality.md."""
    tables = {task.name: lines_of(task, plan.rows_of(task), cells) for task in plan.tasks}
    parts = [
        "# What quantization and pruning cost in quality",
        METHOD.format(
            command=command,
            seed=plan.seed,
            recent=RECENT,
            many=LEAN["recent"],
            decay=LEAN["decay"],
            note=DEVELOPMENT_NOTE if plan.development else "",
        ),
        f"![Quality over K/V bytes]({plot})",
        "## Where quality is lost",
        *(_losses(task, tables[task.name]) for task in plan.tasks),
        _caution(plan),
        *(part for task in plan.tasks for part in _section(task, tables[task.name])),
        "## Rows",
        markdown_table(
            [
                "row",
                "bits",
                "tokens kept",
                "recent tokens spared",
                "decay a step",
                "heads kept",
                "values kept",
            ],
            [_meaning(r) for r in plan.all_rows()],
        ),
        "## Texts and licences",
        "\n".join(f"- {task.title}: {task.licence}." for task in plan.tasks),
    ]
    return "\n\n".join(parts) + "\n"


def study_json(plan: Plan, cells: Sequence[Cell], command: str) -> dict[str, Any]:
    """Everything behind the tables, scores of single examples included."""
    return {
        "command": command,
        "seed": plan.seed,
        "scale": plan.scale,
        "development": plan.development,
        "rows": [asdict(row) for row in plan.all_rows()],
        "tasks": [_task_json(task, lines_of(task, plan.rows_of(task), cells)) for task in plan.tasks],
    }


def quality_text(metric: Metric, found: Estimate) -> str:
    """``81.3 % (77.1 to 84.9)``."""
    value, low, high = (f"{part * metric.scale:.{metric.digits}f}" for part in found)
    return f"{value}{metric.unit} ({low} to {high})"


def change_text(metric: Metric, found: Estimate) -> str:
    """``-2.3 points (-4.1 to -0.4)``; a change of perplexity is in percent of the baseline's."""
    value, low, high = (f"{100 * part + 0.0:+.1f}" for part in found)
    return f"{value}{metric.change_unit} ({low} to {high})"


def _caution(plan: Plan) -> str:
    count = plan.count() - len(plan.tasks)
    return CAUTION.format(count=count, chance=0.05 * count)


def _losses(task: Task, lines: Sequence[Line]) -> str:
    lost = [
        f"{line.row.name} ({change_text(task.metric, line.change)})"
        for line in lines
        if line.verdict == "lost"
    ]
    kept = [line for line in lines if line.verdict != "lost" and line.row != FLOAT]
    least = min(kept, key=lambda line: line.cell.kv_read / max(1, line.cell.kv_dense_16), default=None)
    safe = (
        f" Fewest bytes without a loss shown: {least.row.name}, {least.cell.kv_ratio(32):.1f}x below 32 bit."
        if least is not None
        else ""
    )
    return (
        f"**{task.title}**: lost with {'; '.join(lost)}.{safe}"
        if lost
        else f"**{task.title}**: no loss shown.{safe}"
    )


def _section(task: Task, lines: Sequence[Line]) -> list[str]:
    cell = lines[0].cell
    guess = "" if cell.guess is None else f" A model that knows nothing scores {100 * cell.guess:.1f} %."
    unit = "windows" if task.metric.name == "perplexity" else "examples"
    header = [
        "row",
        "K/V bytes below 32 bit",
        "below 16 bit",
        task.metric.name,
        "change against float",
        "verdict",
    ]
    return [
        f"## {task.title}",
        f"{len(cell.scores)} {unit}.{guess}",
        markdown_table(header, [_line_cells(task, line) for line in lines]),
    ]


def _line_cells(task: Task, line: Line) -> list[str]:
    ratios = [f"{line.cell.kv_ratio(bits):.2f}x" for bits in (32, 16)]
    quality = quality_text(task.metric, line.quality)
    if line.row == FLOAT:
        return [line.row.name, *ratios, quality, "baseline", ""]
    verdict = f"**{line.verdict}**" if line.verdict == "lost" else line.verdict
    return [line.row.name, *ratios, quality, change_text(task.metric, line.change), verdict]


def _meaning(row: Row) -> list[str]:
    return [
        row.name,
        _bits(row),
        f"{100 * row.tokens:.0f} %",
        f"{row.recent}" if row.recent else "",
        f"{row.decay:g}" if row.decay != 1 else "",
        f"{100 * row.heads:.0f} %",
        f"above {row.value_share:g} of the greatest" if row.value_share else f"{100 * row.values:.0f} %",
    ]


def _bits(row: Row) -> str:
    if row.bits is None:
        return "float32"
    v_bits = f", V {row.v_bits}" if row.v_bits else ""
    if isinstance(row.bits, int):
        return f"{row.bits}{v_bits}"
    when = f"of keys above 1/{1 / row.threshold:g}" if row.by_key else f"below {row.threshold}"
    return f"{'+'.join(map(str, row.bits))}{v_bits}, LSBs {when}"


def _task_json(task: Task, lines: Sequence[Line]) -> dict[str, Any]:
    return {
        "name": task.name,
        "title": task.title,
        "metric": task.metric.name,
        "licence": task.licence,
        "rows": [_line_json(line) for line in lines],
    }


def _line_json(line: Line) -> dict[str, Any]:
    return {
        "quality": line.quality._asdict(),
        "change": line.change._asdict(),
        "verdict": line.verdict,
        "kv_ratio_32": line.cell.kv_ratio(32),
        "kv_ratio_16": line.cell.kv_ratio(16),
        **asdict(line.cell),
    }
