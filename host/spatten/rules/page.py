# SPDX-License-Identifier: BSD-2-Clause
"""docs/rules.md: who wins at equal bytes, on which text, at what price. Verdicts are computed from pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..report.markdown import markdown_table
from .families import FAMILIES
from .page_pruning import importance, merging
from .page_reading import at_equal_bytes, every_setting, fewest_bytes, on_other_windows, who_wins
from .price import HEADER, PRICES
from .sweep import Text

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

PRICE = """\
Beyond contract 1.0, worked out from the units of the core as it was then (44,889 LUT, 149 EBR and 143
multipliers of the large preset; [core.md](core.md) for cycles). Refetch by key and values above a share are
in [contract 1.1](contract.md) since, with another word and other bits than here. Nothing else is built or
synthesised: read the LUTs as half to twice."""


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
        *who_wins(texts),
        "## The fewest bytes without a loss",
        *fewest_bytes(texts),
        "## At equal bytes",
        *at_equal_bytes(texts),
        "## The rule that is built, on other windows",
        on_other_windows(others),
        "## The families",
        "\n".join(f"- **{f.name}**{' (known)' if f.known else ''}: {f.meaning}." for f in FAMILIES),
        "## Merging pruned tokens",
        *merging(merged),
        "## Importance",
        *importance(kept),
        "## What each would take",
        PRICE,
        markdown_table(HEADER, PRICES, text_columns=len(HEADER)),
        "## Every setting measured",
        *every_setting(texts),
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
