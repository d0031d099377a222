# SPDX-License-Identifier: BSD-2-Clause
"""docs/rules.md: who wins at equal bytes, on which text, at what price. Verdicts are computed from pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..quality.metrics import ACCURACY, PERPLEXITY
from ..quality.report import change_text, quality_text
from ..report.markdown import markdown_table
from .families import FAMILIES, Family
from .merging import MAX_TOKENS, VARIANTS
from .price import HEADER, PRICES
from .sweep import BUDGETS, Point, Text

METHOD = """\
How generation steps can read K and V, and what a BERT's host can do with pruned tokens, compared at equal
bytes and without tuning. Made by `{command}`: {test} windows of 512 tokens of each text that the model was
not trained on; the front of a window is read in float, the {scored} steps behind it by the rule. Only the
**setting** of a family was chosen, on {development} other windows: the least perplexity among those that
read few enough bytes. Changes are against float, window by window, with the 95 % interval of the pairs
(bootstrap).

Bytes are K and V rows as the contract counts them in stream mode, whole beats of 16 bytes, tables of
exponents and rows of means included, as a factor below 16 bit; twice that is below 32 bit, three quarters
below 12, half below 8. Nothing else is pruned: no token, no head. Integers, planes and thresholds are
exact; weights are float softmax, not the contract's 16-bit table, and scales fit the whole window
([growing-cache.md](growing-cache.md) has the cost of scales that grow). Rules that a device knows were
compared with it: the same bytes, and the surprise of the same window within 0.002 nats
(`tests/host/test_rules.py`).

The model is small (6 layers, 4 heads of 64) and the context short, and many of its heads look at everything
alike. That is the hard case for rules that give keys up, and a larger model may turn some of this round."""

TABLE = """\
Change of perplexity in percent. Bold is the least of a column, with a star where it is below the best rule
that a device knows (*known*) beyond chance. A column's head is the bytes below 16 bit that a setting had to
reach."""

DEFAULT = """\
One setting for all texts, without a loss on any, the fewest bytes on the worst. Of what a device knows, and
so the default of generation as things stand: {known}. Of all rules, and so the one to put into a next version
of the contract: {any}."""

FEWEST = """\
The measured setting of fewest bytes whose perplexity rises by at most 1 % at the worse end of its interval.
*Same token*: how often the likeliest next token is float's."""

MERGING = """\
MiniLM, frozen, with a linear head on the mean of all tokens trained on float embeddings; texts cut at
{tokens} tokens; {rows} test texts; 8 bit; survivors by the contract's rule, [CLS] and the last token
spared. All rows of a column read the same bytes to within what other states make of the importance. A
merged survivor is the mean of what it stands for; attention does not weigh it by its size, which a device
would have to know. Accuracy, and change against dropping, pair by pair."""

PRICE = """\
Beyond contract 1.0, worked out from the units of the core as it is ([core-fit.md](core-fit.md): 44,889 LUT,
149 EBR and 143 multipliers of the large preset; [core.md](core.md) for cycles). Nothing here is built or
synthesised: read the LUTs as half to twice."""

IMPORTANCE = """\
Which tokens survive in a BERT (the paper's cumulative probability, with decay, the latest layer, weighted
by value norm, [CLS]'s row alone, more tokens spared) is compared at equal bytes in
[frontier.md](frontier.md), on two tasks and two shares. Weighted by value norm was best in all four
columns, beyond chance in one."""


def rules_markdown(
    texts: Sequence[Text], merged: Sequence[dict[str, Any]], command: str, **asked: int
) -> str:
    """The whole page."""
    parts = [
        "# Rules for reading K and V, at equal bytes",
        METHOD.format(command=command, **asked),
        "## Who wins",
        *(_winner(text) for text in texts),
        _defaults(texts),
        "## The fewest bytes without a loss",
        FEWEST,
        _fewest(texts),
        "## At equal bytes",
        TABLE,
        *(part for text in texts for part in (f"### {text.title}", _equal(text))),
        "## The families",
        "\n".join(f"- **{f.name}**{' (known)' if f.known else ''}: {f.meaning}." for f in FAMILIES),
        "## Merging pruned tokens",
        MERGING.format(tokens=MAX_TOKENS, rows=len(merged[0]["scores"])),
        _merged(merged),
        "## Importance",
        IMPORTANCE,
        "## What each would take",
        PRICE,
        markdown_table(HEADER, PRICES, text_columns=len(HEADER)),
        "## Every setting measured",
        *(part for text in texts for part in (f"### {text.title}", _points(text))),
    ]
    return "\n\n".join(parts) + "\n"


def rules_json(texts: Sequence[Text], merged: Sequence[dict[str, Any]], command: str) -> dict[str, Any]:
    """Keys ``decode`` and ``merging``, scores of single windows and texts included."""
    return {"command": command, "decode": [text.to_dict() for text in texts], "merging": list(merged)}


def _best(text: Text, budget: float, families: Sequence[Family] = FAMILIES) -> Point | None:
    """The point with the least change of all families at a budget."""
    points = [point for family in families if (point := text.within(family.name, budget)) is not None]
    return min(points, key=lambda point: text.change(point).value, default=None)


def _known(text: Text, budget: float) -> Point | None:
    return _best(text, budget, [family for family in FAMILIES if family.known])


def _clear(text: Text, point: Point, budget: float) -> bool:
    """Whether a point is below the best one that a device knows, beyond chance."""
    known = _known(text, budget)
    return known is not None and text.change(point, known).high < 0


def _equal(text: Text) -> str:
    """Families by budgets."""
    rows = []
    for family in FAMILIES:
        cells = [f"{family.name} (known)" if family.known else family.name]
        for budget in BUDGETS:
            point = text.within(family.name, budget)
            if point is None:
                cells.append("")
                continue
            cell = f"{100 * text.change(point).value + 0.0:+.1f}"
            if point == _best(text, budget):
                cell = f"**{cell}**" + ("\\*" if _clear(text, point, budget) else "")
            cells.append(cell)
        rows.append(cells)
    return markdown_table(["rule", *(f"{budget:g}x" for budget in BUDGETS)], rows)


def _fewest(texts: Sequence[Text]) -> str:
    """One row a family, three columns a text."""
    header = ["rule"]
    for text in texts:
        header += [
            f"{text.title.removeprefix('Perplexity: ')}: setting",
            "below 16 bit",
            "change",
            "same token",
        ]
    rows = []
    for family in FAMILIES:
        cells = [f"{family.name} (known)" if family.known else family.name]
        for text in texts:
            point = text.fewest(family.name)
            cells += ["none"] + [""] * 3 if point is None else _cells(text, point)
        rows.append(cells)
    return markdown_table(header, rows)


def _cells(text: Text, point: Point) -> list[str]:
    """Setting, bytes, change and agreement."""
    part = text.readings[point]
    agreed = f"{100 * float(np.mean(part.agreed)):.1f} %"
    return [point[1], f"{part.x16:.2f}x", change_text(PERPLEXITY, text.change(point)), agreed]


def _points(text: Text) -> str:
    """All settings that were measured."""
    whole = quality_text(PERPLEXITY, PERPLEXITY.estimate(text.float.scores))
    rows = [[point[0], *_cells(text, point)] for point, part in text.readings.items() if part.read]
    table = markdown_table(["rule", "setting", "below 16 bit", "change", "same token"], rows, text_columns=2)
    return f"Float: {whole}.\n\n{table}"


def _winner(text: Text) -> str:
    """Sentences that follow from the numbers of a text."""
    safe = [point for family in FAMILIES if (point := text.fewest(family.name)) is not None]
    known = [point for point in safe if any(f.known and f.name == point[0] for f in FAMILIES)]
    title = f"**{text.title}**"
    if not safe:
        return f"{title}: no rule keeps perplexity within 1 %."
    first = max(safe, key=lambda point: text.readings[point].x16)
    device = max(known, key=lambda point: text.readings[point].x16, default=None)
    against = (
        f"{_named(text, device)} is the best that a device knows" if device else "no rule that a device knows"
    )
    return f"{title}: {_named(text, first)} reads the fewest bytes without a loss; {against}."


def _defaults(texts: Sequence[Text]) -> str:
    """What loses nothing on any of the texts and reads the fewest bytes of the worst of them."""

    def least(families: Sequence[str]) -> str:
        points = [point for point in texts[0].readings if point[0] in families]
        safe = [point for point in points if all(text.safe(point) for text in texts)]
        if not safe:
            return "none"
        best = max(safe, key=lambda point: min(text.readings[point].x16 for text in texts))
        return " and ".join(_named(text, best) if text is texts[0] else _read(text, best) for text in texts)

    known = [family.name for family in FAMILIES if family.known]
    return DEFAULT.format(known=least(known), any=least([family.name for family in FAMILIES]))


def _read(text: Text, point: Point) -> str:
    part, change = text.readings[point], change_text(PERPLEXITY, text.change(point))
    return f"{part.x16:.2f}x, {change}"


def _named(text: Text, point: Point) -> str:
    part, change = text.readings[point], change_text(PERPLEXITY, text.change(point))
    return (
        f"*{point[0]}* ({point[1]}) at {part.x16:.2f}x below 16 bit, {2 * part.x16:.1f}x below 32, {change},"
    )


def _merged(merged: Sequence[dict[str, Any]]) -> str:
    """Variants by task and share."""
    columns = sorted({(part["task"], part["share"]) for part in merged}, reverse=True)
    found = {(part["task"], part["share"], part["variant"]): part for part in merged}
    rows = []
    for variant in VARIANTS:
        cells = [variant.name]
        for column in columns:
            part, base = found[*column, variant.name], found[*column, VARIANTS[0].name]
            scores, baseline = np.array(part["scores"]), np.array(base["scores"])
            cell = f"{100 * scores.mean():.1f} % at {part['x16']:.2f}x"
            if part is not base:
                cell += f", {change_text(ACCURACY, ACCURACY.change(scores, baseline))}"
            cells.append(cell)
        rows.append(cells)
    header = [f"{task}, tokens {share:.0%}".replace("%", " %") for task, share in columns]
    return markdown_table(["pruned tokens are", *header], rows)
