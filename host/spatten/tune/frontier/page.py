# SPDX-License-Identifier: BSD-2-Clause
"""The frontier as a page and as JSON. What is said of a loss is computed from the pairs of all seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

import numpy as np

from spatten_drivers import KeyPolicy

from ...quality.metrics import ACCURACY, Estimate, Metric
from ...quality.report import change_text, quality_text
from ...report.markdown import markdown_table
from ..knobs import formats_for
from ..metrics import lost_points, most_lost
from ..result import compared, shares_text
from ..tasks import KINDS, TuneTask
from .points import BUDGETS, HEADLINE, SUBJECTS, command
from .rules import VARIANTS

#: Most points (percent of perplexity) that the upper end of a loss without loss may hide.
BOUND = 1.0
#: What is said of a change, the best first: by whether all of its interval is a loss, and whether its worse
#: end is in bound.
VERDICTS = {
    (False, True): "**no loss**",
    (True, True): f"**lost**, at most {BOUND:g}",
    (False, False): "no loss shown",
    (True, False): "**lost**",
}

METHOD = """\
One row is one budget of one task: a schedule searched within the budget, first without tuning, then
fine-tuned with pruning in the loop ([tuning.md](tuning.md)). Qualities and bytes are those of the test rows,
one by one on the bit-exact model; K and V bytes as a factor below dense 32 and 16 bit. The change is against
the **dense model trained as long again**, on the same rows, with the 95 % interval of the pairs (exact
McNemar, or paired bootstrap), of all seeds together; a row that several seeds draw counts for each, as if
rows of their own. **Lost** stands where all of the interval is a loss, *at most {bound:g}* behind it where
its worse end is no more points (percent of perplexity) than that; **no loss** where that holds of an interval
which is not all a loss, and of accuracies of Tango's score interval too, for McNemar's is never wider than
the share of rows that changed; *no loss shown* in between: a loss may hide in it. Of budgets and efforts the
headline is picked by the rows that it reports, which flatters it. *Trained on* names the training rows, the
epochs of the dense model, and those of the result, which its control takes too; *fresh* are rows that the
dense model has not learned from, as far as there are; *distilled* is what learned from the answers of the
dense model as well, *labels* what did not. *Training undone* is said of a result whose training raised the
loss on the development rows and had no more of them right: it has the weights from before."""

TIME = """\
What stands here is what the measuring machine had time for: few rows, few epochs. Minutes are of one core of
it, with other work beside, and leave out the dense model and its control where an earlier point had trained
them."""

COMMANDS = """\
Of each kind of effort the first point's command; other points of that kind have another task, budget or
seed there:"""

EARLIER = """\
Points marked *earlier* are of an earlier version, whose search did not know four bits that are clamped, and
mostly no priors. Some, with `--screens 22` or `24`, compared untrained schedules by their loss on labels
rather than by distance from the dense model's answers, followed the dense model with dropout, and trained
with it what that is compared with. Today's commands may do better."""

TOLD = """\
Of the same windows: *steps* are the tokens that are generated one by one, which the table above is of;
*prompts* are read at once, all of their tokens kept, in the schedule's bits."""

RULES_METHOD = """\
The same share of tokens, so the same bytes, at 8 bit; the dense model of the task, **not tuned** to any rule,
on the test rows, with pruning as the training surrogate decides. Quality, and its change against the paper's
rule, row by row. A column's head names task, bytes below 32 bit and rows; *all tasks* takes the rows of all
of them as if of one.

A device knows the paper's rule, a prior and what is spared; by the others a study can train and score
(`rule=`). Of so many comparisons at 95 % one in twenty looks like a change by chance; one seed."""


@dataclass(frozen=True)
class Line:
    """The points of one budget, task and effort, all seeds together."""

    points: Sequence[dict[str, Any]]

    @property
    def kind(self) -> type[TuneTask]:
        """Of task."""
        return KINDS[self.points[0]["settings"]["task"]]

    @property
    def metric(self) -> Metric:
        """Of its scores."""
        return self.kind.metric

    @property
    def told(self) -> Mapping[str, Metric]:
        """Metrics of what else its task tells, by name."""
        return self.kind.told

    def aside(self, name: str) -> list[str]:
        """One of those: of the dense model trained as long, tuned, and the change."""
        control, tuned = (
            np.concatenate([point["asides"][name][whose] for point in self.points])
            for whose in ("control", "tuned")
        )
        return compared(self.told[name], control, tuned)

    @property
    def training(self) -> str:
        """Most training rows of a point, or windows of a text; epochs dense and tuned; by what it learned."""
        effort = self.points[0]["settings"]["effort"]
        by = "distilled" if effort["tuned"].get("distillation") else "labels"
        rows = "windows" if self.kind.generates else "rows"
        many = effort["examples"] or "all"
        first, then = (f"{effort[which]['epochs']:g}" for which in ("dense", "tuned"))
        both = f"x {first}, fresh {many} x {then}" if _fresh(effort) else f"x {first} + {then}"
        return f"{many} {rows} {both}, {by}"

    @property
    def data(self) -> str:
        """The task's name."""
        return str(self.points[0]["data"])

    @property
    def budget(self) -> float:
        """What was asked for."""
        return float(self.points[0]["budget"])

    @property
    def seeds(self) -> list[int]:
        """Those measured."""
        return [point["seed"] for point in self.points]

    def scores(self, name: str) -> np.ndarray:
        """``before``, ``tuned``, ``dense`` or ``control``, seed after seed."""
        return np.concatenate([point["scores"][name] for point in self.points])

    def quality(self, name: str) -> Estimate:
        """Of the same."""
        return self.metric.estimate(self.scores(name))

    def change(self, name: str) -> Estimate:
        """Against the dense model trained as long again."""
        return self.metric.change(self.scores(name), self.scores("control"))

    def lost(self, name: str = "tuned") -> Estimate:
        """The same in points (percent of perplexity), a loss positive."""
        return lost_points(self.metric, self.scores(name), self.scores("control"))

    def ratio(self, name: str = "x32") -> float:
        """Mean over the seeds."""
        return float(np.mean([point[name] for point in self.points]))

    def verdict(self, name: str) -> str:
        """As :data:`METHOD` says."""
        lost = self.lost(name)
        worst = lost.high
        if self.metric is ACCURACY:
            worst = max(worst, most_lost(self.scores(name), self.scores("control")))
        return VERDICTS[lost.low > 0, worst <= BOUND]


def lines_of(points: Iterable[dict[str, Any]]) -> list[Line]:
    """Measured points as lines: by task, budget and effort, the least first."""

    def key(point: dict[str, Any]) -> tuple[Any, ...]:
        settings, effort = point["settings"], point["settings"]["effort"]
        rows = effort["examples"] or math.inf
        return point["data"], point["budget"], rows, str(effort), _earlier(point), settings["max_tokens"]

    order = [subject.name for subject in SUBJECTS]
    measured = sorted(
        (point for point in points if "scores" in point),
        key=lambda point: (order.index(point["data"]), *key(point)[1:], point["seed"]),
    )
    return [Line(list(part)) for _, part in groupby(measured, key)]


def _fresh(effort: dict[str, Any]) -> bool:
    """Whether a result learned from other rows than its dense model, which left some."""
    return bool(effort.get("fresh") and effort["dense"]["epochs"] and effort["examples"])


def _earlier(point: dict[str, Any]) -> bool:
    """Whether another search found its schedule: by another measure, or without the knobs of today."""
    settings = point["settings"]
    kind = KINDS[settings["task"]]
    knew_formats = kind.generates or settings.get("formats") == list(formats_for(False))
    return bool(settings.get("compared") != kind.compared or not knew_formats)


def best(lines: Sequence[Line], data: str) -> Line | None:
    """The fewest bytes of a task by the best of :data:`VERDICTS` that it has; none if all are lost.

    Of efforts for one budget, whose bytes differ by chance, that which may hide the least.
    """
    mine = [line for line in lines if line.data == data]
    for verdict in list(VERDICTS.values())[:-1]:
        kept = [line for line in mine if line.verdict("tuned") == verdict]
        if kept:
            return max(kept, key=lambda line: (line.budget, -line.lost().high))
    return None


def frontier_json(points: Sequence[dict[str, Any]], rules: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Keys ``headline``, ``rules`` and ``points``, scores of single examples included."""
    lines = lines_of(points)
    headline = {
        line.data: {
            "x32": line.ratio("x32"),
            "x16": line.ratio("x16"),
            "quality": line.quality("tuned").value,
            "dense": line.quality("control").value,
            "loss_ci": [line.lost().low, line.lost().high],
            "seeds": line.seeds,
            "test_rows": len(line.scores("tuned")),
        }
        for subject in SUBJECTS
        if (line := best(lines, subject.name)) is not None
    }
    return {"headline": headline, "rules": list(rules), "points": list(points)}


def frontier_markdown(points: Sequence[dict[str, Any]], rules: Sequence[dict[str, Any]], plot: str) -> str:
    """The whole of docs/frontier.md."""
    lines = lines_of(points)
    parts = [
        "# Quality over bytes, before and after tuning",
        METHOD.format(bound=BOUND),
        f"![Quality over K/V bytes, untuned and tuned]({plot})",
        "## The fewest bytes without a loss, or with a small one",
        _headline(lines),
        *(part for subject in SUBJECTS for part in _section(subject.title, subject.name, lines)),
        "## What was measured, and what was not",
        _measured(points),
        _missing(points),
    ]
    return "\n\n".join([*parts, *_rules(rules)]) + "\n"


def _headline(lines: Sequence[Line]) -> str:
    header = [
        "task", "seeds", "test rows", "K/V bytes below 32 bit", "below 16 bit",
        "tuned", "dense, as long", "change", "verdict",
    ]  # fmt: skip
    rows = []
    for subject in SUBJECTS:
        mine = [line for line in lines if line.data == subject.name]
        line = best(lines, subject.name)
        if line is not None:
            cells = *_drawn(line), *_ratios(line), *_qualities(line, "tuned", "control"), *_end(line)
            rows.append([subject.title, *cells])
        elif mine:
            rows.append([subject.title, *[""] * (len(header) - 2), "every budget measured lost"])
    return markdown_table(header, rows)


def _section(title: str, data: str, lines: Sequence[Line]) -> list[str]:
    mine = [line for line in lines if line.data == data]
    if not mine:
        return []
    name = mine[0].metric.name
    header = [
        "budget", "trained on", "seeds", "test rows", "K/V bytes below 32 bit", "below 16 bit",
        f"{name}, dense as long", "untuned", "change", "tuned", "change", "verdict", "schedule",
    ]  # fmt: skip
    parts = [f"## {title}", markdown_table(header, [_cells(line) for line in mine])]
    return [*parts, *_asides(mine)] if mine[0].told else parts


def _asides(lines: Sequence[Line]) -> list[str]:
    """What else the task tells of the same rows; a table."""
    names = lines[0].told
    told = [(f"{name}, dense as long", "tuned", "change") for name in names]
    header = ["budget", "trained on", *chain.from_iterable(told)]
    rows = [
        [f"{line.budget:g}x", line.training, *chain.from_iterable(line.aside(name) for name in names)]
        for line in lines
    ]
    return [TOLD, markdown_table(header, rows)]


def _cells(line: Line) -> list[str]:
    return [
        f"{line.budget:g}x",
        line.training,
        *_drawn(line),
        *_ratios(line),
        *_qualities(line, "control", "before"),
        change_text(line.metric, line.change("before")),
        *_qualities(line, "tuned"),
        *_end(line),
        "; ".join(sorted({_schedule_text(point) for point in line.points})),
    ]


def _drawn(line: Line) -> list[str]:
    return [", ".join(map(str, line.seeds)), str(len(line.scores("tuned")))]


def _end(line: Line) -> list[str]:
    return [change_text(line.metric, line.change("tuned")), line.verdict("tuned")]


def _ratios(line: Line) -> list[str]:
    return [f"{line.ratio(name):.2f}x" for name in ("x32", "x16")]


def _qualities(line: Line, *names: str) -> list[str]:
    return [quality_text(line.metric, line.quality(name)) for name in names]


def _schedule_text(point: dict[str, Any]) -> str:
    """``4 bit, tokens 80 % (100 100 100 80 60 40), heads 100 %, values 100 %``."""
    schedule = point["schedule"]
    shares = shares_text(*(schedule[name] for name in ("tokens", "heads", "values")))
    above = f" above {share:g}" if (share := schedule["value_share"]) else ""
    undone = "" if point.get("development", {}).get("helped", True) else ", training undone"
    prior = f", prior {start:g}" if (start := schedule.get("prior")) else ""
    return f"{_formats_text(schedule['quantization'])}, {shares}{prior}{above}{undone}"


def _formats_text(formats: dict[str, Any]) -> str:
    """``4+4 bit below 0.05``; with K and V apart where they differ."""
    k, v = (
        f"{formats[f'{name}_msb_bits']}" + (f"+{low}" if (low := formats[f"{name}_lsb_bits"]) else "")
        for name in "kv"
    )
    bits = f"{k} bit" if k == v else f"K {k}, V {v} bit"
    if formats["k_policy"] == KeyPolicy.BY_KEY:
        return f"{bits}, by key above {formats['threshold']:.2g}"
    if formats["k_lsb_bits"]:
        return f"{bits} below {formats['threshold']:g}"
    return f"{bits} clamped at {formats['headroom']:g}" if formats["headroom"] < 1 else bits


def _measured(points: Sequence[dict[str, Any]]) -> str:
    header = [
        "task", "budget", "seed", "training rows", "epochs dense + tuned", "test rows", "minutes", "search",
    ]  # fmt: skip
    found = [point for point in points if "scores" in point]
    rows = []
    for point in found:
        effort = point["settings"]["effort"]
        fresh = "fresh " if _fresh(effort) else ""
        epochs = f"{effort['dense']['epochs']:g} + {fresh}{effort['tuned']['epochs']:g}"
        numbers = [str(effort["examples"] or "all"), epochs, str(len(point["scores"]["tuned"]))]
        minutes = f"{point['seconds'] / 60:.0f}"
        search = "earlier" if _earlier(point) else ""
        rows.append([point["data"], f"{point['budget']:g}x", str(point["seed"]), *numbers, minutes, search])
    parts = [TIME, markdown_table(header, rows), COMMANDS, _commands(found)]
    if any(map(_earlier, found)):
        parts.append(EARLIER)
    return "\n\n".join(parts)


def _commands(points: Sequence[dict[str, Any]]) -> str:
    """Of the first point of each kind of effort; a line each."""
    first: dict[str, dict[str, Any]] = {}
    for point in points:
        first.setdefault(str(point["settings"]["effort"]), point["settings"])
    return "\n".join(f"    {command(settings)}" for settings in first.values())


def _missing(points: Sequence[dict[str, Any]]) -> str:
    """What of the whole sweep is not there, so that nobody takes the page for all of it."""
    lines = []
    for subject in SUBJECTS:
        mine = [point for point in points if point["data"] == subject.name]
        have = {point["budget"] for point in mine if "scores" in point}
        refused = sorted({point["budget"] for point in mine if "refused" in point})
        lacking = ", ".join(f"{b:g}x" for b in sorted(BUDGETS) if b not in have and b not in refused)
        seeds = {p["seed"] for p in mine if p["budget"] == HEADLINE and "scores" in p}
        said = [f"not measured: {lacking}"] if lacking else []
        said += [f"no schedule reaches {b:g}x" for b in refused]
        if len(seeds) < 3:
            said.append(f"{len(seeds)} of 3 seeds at {HEADLINE:g}x")
        if said:
            lines.append(f"- {subject.title}: {'; '.join(said)}.")
    if not lines:
        return ""
    return "`make frontier` measures the rest:\n\n" + "\n".join(lines)


def _rules(rules: Sequence[dict[str, Any]]) -> list[str]:
    """Tables of rules, one for each share of tokens, as far as comparisons are complete."""
    found = {(part["share"], part["data"], part["home"], part["rule"]): part for part in rules}
    whole = [key for key in found if all((*key[:3], variant.name) in found for variant in VARIANTS)]
    columns = list(dict.fromkeys(key[:3] for key in whole))  # as they came: all tasks last
    if not columns:
        return []
    parts = ["## Rules of importance", RULES_METHOD]
    for share in sorted({column[0] for column in columns}, reverse=True):
        same = [[found[*column, v.name] for v in VARIANTS] for column in columns if column[0] == share]
        parts += [f"### {100 * share:.0f} % of the tokens", _rule_table(same), _winners(same)]
    return [*parts, "\n".join(f"- {variant.name}: {variant.meaning}." for variant in VARIANTS)]


def _rule_table(columns: Sequence[Sequence[dict[str, Any]]]) -> str:
    """``columns`` of a task each, by variant; the paper's first."""
    heads = [f"{paper['data']}, {paper['x32']:.1f}x, {len(paper['scores'])}" for paper, *_ in columns]
    rows = [
        [variant.name, *(_rule_text(column[place], column[0]) for column in columns)]
        for place, variant in enumerate(VARIANTS)
    ]
    return markdown_table(["rule", *heads], rows)


def _rule_text(part: dict[str, Any], paper: dict[str, Any]) -> str:
    """Quality and change; the bytes too, where more tokens are spared than the share leaves."""
    quality = f"{100 * part['quality']['value']:.1f} %"
    if part is paper:
        return quality
    bytes = "" if round(part["x32"], 1) == round(paper["x32"], 1) else f" at {part['x32']:.1f}x"
    return f"{quality}{bytes}, {change_text(ACCURACY, Estimate(**part['change']))}"


def _winners(columns: Sequence[Sequence[dict[str, Any]]]) -> str:
    """The best rule of each column, and whether it is better than the paper's beyond chance."""
    lines = []
    for parts in columns:
        first = max(parts, key=lambda part: part["quality"]["value"])
        how = "beyond chance" if first["change"]["low"] > 0 else "not beyond chance against the paper's"
        lines.append(f"- Best on {first['data']}: **{first['rule']}**, {how}.")
    return "\n".join(lines)
