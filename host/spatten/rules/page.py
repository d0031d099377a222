# SPDX-License-Identifier: BSD-2-Clause
"""docs/rules.md: who wins at equal bytes, on which text, at what price. Verdicts are computed from pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..quality.metrics import ACCURACY, PERPLEXITY
from ..quality.report import change_text, quality_text
from ..report.markdown import markdown_table
from .families import AS_BUILT, FAMILIES, Family
from .importance import VARIANTS as KEPT
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

The list was not fixed beforehand: budgets, and thresholds of the rules that join two, were added after a
first look at the test windows, and so was the last variant of importance. What contract 1.1 has of the list
was measured again on other windows, below.

The model is small (6 layers, 4 heads of 64) and the context short, and many of its heads look at everything
alike. That is the hard case for rules that give keys up, and a larger model may turn some of this round."""

TABLE = """\
Change of perplexity in percent. Bold is the least of a column, with a star where it is below the best rule
that a device knows (*known*) beyond chance. A column's head is the bytes below 16 bit that a setting had to
reach."""

DEFAULT = """\
One setting for all texts, without a loss on any:

- Of what a device knows, and so the default of generation as things stand: {known}.
- Of all rules the simplest within 5 % of the fewest bytes, and so the one that contract 1.1 was made after:
  {simplest}.
- The fewest bytes of all: {fewest}."""

#: How near to the fewest bytes a simpler rule has to come.
NEAR = 0.95

PICKER = """\
Token-Picker's rule as its paper has it, an early stop in three planes of 4 bit, reads {ratios} less than
whole rows of 12 bit without a loss; the paper reports 2.57x on large language models. Heads that look at
everything alike are what stands against it here: a key among 500 has a probability of 0.002 in them, and a
threshold near that gives up the whole head."""

FEWEST = """\
The measured setting of fewest bytes whose perplexity rises by at most 1 % at the worse end of its interval.
It is picked among those measured, on the same windows, which flatters every rule with several settings.
*Same token*: how often the likeliest next token is float's."""

AGAIN = """\
The rule that is built, at all its settings, on windows of the next seed that are not read above: {windows}.
{fewest}"""

MERGING = """\
MiniLM, frozen, with a linear head on the mean of all tokens trained on float embeddings; texts cut at
{tokens} tokens; {rows} test texts; 8 bit; survivors by the contract's rule, [CLS] and the last token spared.
All rows of a column read the same bytes. A merged survivor is the mean of what it stands for; attention does
not weigh it by its size, which a device would have to know. Accuracy, and change against dropping, pair by
pair."""

PRICE = """\
Beyond contract 1.0, worked out from the units of the core as it was then (44,889 LUT, 149 EBR and 143
multipliers of the large preset; [core.md](core.md) for cycles). Refetch by key and values above a share are
in [contract 1.1](contract.md) since, with another word and other bits than here. Nothing else is built or
synthesised: read the LUTs as half to twice."""

IMPORTANCE = """\
Which tokens a generation keeps: {windows} of the test windows of each text, half of the tokens on average
behind the front of the layers, 8 bit, prompts read whole, the steps pruned as the training surrogate does
([tuning.md](tuning.md)). All variants read the same share of tokens. Change of perplexity against float, and
in brackets against the first row. A device knows those of cumulative importance (*known*). For BERTs the
rules are compared in [frontier.md](frontier.md) on two tasks and two shares: weighted by value norm was best
in all four columns, beyond chance in one."""


def rules_markdown(
    texts: Sequence[Text],
    others: Sequence[Text],
    merged: Sequence[dict[str, Any]],
    kept: Sequence[dict[str, Any]],
    command: str,
    **asked: int,
) -> str:
    """The whole page, from what was read, of ``others`` on other windows, merged and kept."""
    parts = [
        "# Rules for reading K and V, at equal bytes",
        METHOD.format(command=command, **asked),
        "## Who wins",
        *(_winner(text) for text in texts),
        _defaults(texts),
        "## The fewest bytes without a loss",
        FEWEST,
        _fewest(texts),
        _picker(texts),
        "## At equal bytes",
        TABLE,
        *(part for text in texts for part in (f"### {text.title}", _equal(text))),
        "## The rule that is built, on other windows",
        _again(others),
        "## The families",
        "\n".join(f"- **{f.name}**{' (known)' if f.known else ''}: {f.meaning}." for f in FAMILIES),
        "## Merging pruned tokens",
        MERGING.format(tokens=MAX_TOKENS, rows=len(merged[0]["scores"])),
        _merged(merged),
        _whole(merged),
        "## Importance",
        IMPORTANCE.format(windows=len(kept[0]["scores"])),
        _kept(kept),
        "## What each would take",
        PRICE,
        markdown_table(HEADER, PRICES, text_columns=len(HEADER)),
        "## Every setting measured",
        *(part for text in texts for part in (f"### {text.title}", _points(text))),
    ]
    return "\n\n".join(parts) + "\n"


def rules_json(
    texts: Sequence[Text],
    others: Sequence[Text],
    merged: Sequence[dict[str, Any]],
    kept: Sequence[dict[str, Any]],
    command: str,
) -> dict[str, Any]:
    """``decode``, ``again``, ``merging`` and ``importance``, scores of single windows and texts included."""
    decode, again = ([text.to_dict() for text in part] for part in (texts, others))
    return {
        "command": command,
        "decode": decode,
        "again": again,
        "merging": list(merged),
        "importance": list(kept),
    }


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
            f"{_short(text)}: setting",
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
    """What loses nothing on any of the texts, of what a device knows and of all rules."""
    known, every = (
        _everywhere(texts, [f for f in FAMILIES if f.known or not only]) for only in (True, False)
    )
    fewest = max(every, key=lambda point: _worst(texts, point), default=None)
    order = [family.name for family in FAMILIES]
    near = (
        [point for point in every if _worst(texts, point) >= NEAR * _worst(texts, fewest)] if fewest else []
    )
    simplest = min(near, key=lambda p: (order.index(p[0]), -_worst(texts, p)), default=None)
    today = max(known, key=lambda point: _worst(texts, point), default=None)
    return DEFAULT.format(
        known=_on_all(texts, today), simplest=_on_all(texts, simplest), fewest=_on_all(texts, fewest)
    )


def _everywhere(texts: Sequence[Text], families: Sequence[Family]) -> list[Point]:
    """Points of families that lose nothing on any text."""
    names = [family.name for family in families]
    return [p for p in texts[0].readings if p[0] in names and all(text.safe(p) for text in texts)]


def _worst(texts: Sequence[Text], point: Point) -> float:
    """How few bytes a point reads on the text where it reads most."""
    return min(text.readings[point].x16 for text in texts)


def _on_all(texts: Sequence[Text], point: Point | None) -> str:
    if point is None:
        return "none"
    return " and ".join((_named if text is texts[0] else _read)(text, point) for text in texts)


def _again(texts: Sequence[Text]) -> str:
    """The rule that is built: the fewest bytes without a loss, and every setting."""
    points = [point for point in texts[0].readings if point[0] == AS_BUILT]
    safe = [point for point in points if all(text.safe(point) for text in texts)]
    best = max(safe, key=lambda point: _worst(texts, point), default=None)
    windows = " and ".join(f"{len(text.float.scores)} of {_short(text)}" for text in texts)
    fewest = f"The fewest bytes without a loss on any text: {_on_all(texts, best)}."
    names = ("below 16 bit", "change", "same token")
    header = ["setting", *(f"{_short(text)}: {name}" for text in texts for name in names)]
    rows = [[point[1], *(cell for text in texts for cell in _cells(text, point)[1:])] for point in points]
    return AGAIN.format(windows=windows, fewest=fewest) + "\n\n" + markdown_table(header, rows)


def _short(text: Text) -> str:
    return text.title.removeprefix("Perplexity: ")


def _picker(texts: Sequence[Text]) -> str:
    """Token-Picker's own measure."""
    found = [(text, text.fewest("early stop, 3 planes")) for text in texts]
    ratios = [f"{0.75 * text.readings[point].x16:.2f}x" if point else "no gain" for text, point in found]
    return PICKER.format(ratios=" and ".join(ratios))


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
    columns = sorted({(part["task"], part["share"]) for part in merged if part["share"] < 1}, reverse=True)
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
    table = markdown_table(["pruned tokens are", *header], rows)
    winners = (_merged_best(name, column, found) for name, column in zip(header, columns, strict=True))
    return "\n".join([table, "", *winners])


def _merged_best(name: str, column: tuple[Any, ...], found: dict[tuple[Any, ...], dict[str, Any]]) -> str:
    """The most accurate of a column, and whether dropping is worse beyond chance."""
    scores = {variant.name: np.array(found[*column, variant.name]["scores"]) for variant in VARIANTS}
    best = max(scores, key=lambda variant: scores[variant].mean())
    clear = ACCURACY.change(scores[best], scores[VARIANTS[0].name]).low > 0
    return (
        f"- Best on {name}: **{best}**, {'beyond chance' if clear else 'not beyond chance'} against dropping."
    )


def _whole(merged: Sequence[dict[str, Any]]) -> str:
    """Accuracy without pruning."""
    parts = [part for part in merged if part["share"] == 1]
    found = (f"{part['task']} {100 * float(np.mean(part['scores'])):.1f} %" for part in parts)
    return f"With all tokens: {', '.join(found)}."


def _kept(kept: Sequence[dict[str, Any]]) -> str:
    """Variants of importance by text."""
    scores = {(part["title"], part["variant"]): np.array(part["scores"]) for part in kept}
    titles = list(dict.fromkeys(part["title"] for part in kept))
    rows = []
    for variant in KEPT:
        cells = [f"{variant.name} (known)" if variant.known else variant.name]
        for title in titles:
            mine, base = scores[title, variant.name], scores[title, KEPT[0].name]
            cell = change_text(PERPLEXITY, PERPLEXITY.change(mine, scores[title, "float"]))
            if variant is not KEPT[0]:
                cell += f" [{change_text(PERPLEXITY, PERPLEXITY.change(mine, base))}]"
            cells.append(cell)
        rows.append(cells)
    table = markdown_table(["tokens kept by", *titles], rows)
    return "\n\n".join([table, *(_kept_best(title, scores) for title in titles)])


def _kept_best(title: str, scores: dict[tuple[str, str], Any]) -> str:
    """The least perplexity on a text, of all variants; and whether it is below the first beyond chance."""
    best = min(KEPT, key=lambda variant: scores[title, variant.name].mean())
    change = PERPLEXITY.change(scores[title, best.name], scores[title, KEPT[0].name])
    clear = "beyond chance" if change.high < 0 else "not beyond chance"
    who = "which a device knows" if best.known else "which no device knows"
    return f"Best on {title}: **{best.name}**, {who}; against the first row {clear}."
