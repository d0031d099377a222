# SPDX-License-Identifier: BSD-2-Clause
"""Of docs/rules.md: which tokens are pruned, and what stands for them. Verdicts are from pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..quality.metrics import ACCURACY, PERPLEXITY
from ..quality.report import change_text
from ..report.markdown import markdown_table
from .importance import VARIANTS as KEPT
from .merging import MAX_TOKENS, VARIANTS

MERGING = """\
MiniLM, frozen, with a linear head on the mean of all tokens trained on float embeddings; texts cut at
{tokens} tokens; {rows} test texts; 8 bit; survivors by the contract's rule, [CLS] and the last token spared.
All rows of a column read the same bytes. A merged survivor is the mean of what it stands for; attention does
not weigh it by its size, which a device would have to know. Accuracy, and change against dropping, pair by
pair."""

IMPORTANCE = """\
Which tokens a generation keeps: {windows} of the test windows of each text, half of the tokens on average
behind the front of the layers, 8 bit, prompts read whole, the steps pruned as the training surrogate does
([tuning.md](tuning.md)). All variants read the same share of tokens. Change of perplexity against float, and
in brackets against the first row. A device knows those of cumulative importance (*known*). For BERTs the
rules are compared in [frontier.md](frontier.md) on two tasks and two shares."""


def merging(merged: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What stands for pruned tokens, by task and share."""
    yield MERGING.format(tokens=MAX_TOKENS, rows=len(merged[0]["scores"]))
    yield from (_merged(merged), _whole(merged))


def importance(kept: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Which tokens a generation keeps, by text."""
    yield IMPORTANCE.format(windows=len(kept[0]["scores"]))
    yield _kept(kept)


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
