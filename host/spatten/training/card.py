# SPDX-License-Identifier: BSD-2-Clause
"""The model card of gpt2-prose; its numbers are what was measured when the model was exported."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from transformers import GPT2LMHeadModel

from .evaluate import Measured

Results = dict[str, Measured]


def card(model: GPT2LMHeadModel, before: Results, after: Results, trained: dict[str, Any]) -> str:
    """Markdown of the card.

    Parameters
    ----------
    before, after : results by text, in float32 and with the weights rounded to float16.
    trained : ``step``, ``tokens`` and ``seconds`` of the run, and ``stream``, the tokens of its texts.
    """
    environment = Environment(
        loader=PackageLoader("spatten.training", ""),
        autoescape=False,  # Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    parameters = sum(weight.numel() for weight in model.parameters())
    values = {"config": model.config, "parameters": parameters, "before": before, "after": after}
    return environment.get_template("card.md.jinja").render(values | trained)
