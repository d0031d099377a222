# SPDX-License-Identifier: BSD-2-Clause
"""Of docs/rules.md: rules for reading K and V against each other, on each text. Verdicts are from pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..quality.metrics import PERPLEXITY
from ..quality.report import change_text, quality_text
from ..report.markdown import markdown_table
from .families import AS_BUILT, FAMILIES, Family
from .sweep import BUDGETS, Point, Text

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


def who_wins(texts: Sequence[Text]) -> Iterator[str]:
    """A sentence a text, and what loses nothing on any of them."""
    yield from map(_winner, texts)
    yield _defaults(texts)


def fewest_bytes(texts: Sequence[Text]) -> Iterator[str]:
    """What each family reads at least without a loss, and Token-Picker's own measure."""
    yield from (FEWEST, _fewest(texts), _picker(texts))


def at_equal_bytes(texts: Sequence[Text]) -> Iterator[str]:
    """A table a text: families by budgets."""
    yield TABLE
    for text in texts:
        yield from (f"### {text.title}", _equal(text))


def on_other_windows(texts: Sequence[Text]) -> str:
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


def every_setting(texts: Sequence[Text]) -> Iterator[str]:
    """A table a text: all that was measured."""
    for text in texts:
        yield from (f"### {text.title}", _points(text))


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
