# SPDX-License-Identifier: BSD-2-Clause
"""Shapes of models: layers, heads and lengths, without weights or torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ModelError


@dataclass(frozen=True)
class ModelShape:
    """What a plan needs to know of a model.

    Parameters
    ----------
    name : for people.
    layers, heads, head_dim : of its attention.
    positions : most tokens it has positions for.
    causal : it generates: a GPT-2; else it reads whole sentences: a BERT.
    """

    name: str
    layers: int
    heads: int
    head_dim: int
    positions: int
    causal: bool


SHAPES: dict[str, ModelShape] = {
    shape.name: shape
    for shape in (
        ModelShape("minilm", 6, 12, 32, 512, causal=False),
        ModelShape("bert-base", 12, 12, 64, 512, causal=False),
        ModelShape("gpt2-prose", 6, 4, 64, 1024, causal=True),
        ModelShape("gpt2-small", 12, 12, 64, 1024, causal=True),
    )
}
#: Names that other commands have for the same shapes.
ALIASES = {"bert-base-random": "bert-base", "gpt2-small-random": "gpt2-small"}


def model_shape(name: str, **changes: int | None) -> ModelShape:
    """A shape by name or from the ``config.json`` of a folder; ``changes`` replace what is not ``None``.

    Raises
    ------
    ModelError : neither a known name nor a folder of a BERT or a GPT-2, or a number is not 1 or more.
    """
    known = ALIASES.get(name, name)
    found = SHAPES[known] if known in SHAPES else _from_folder(name)
    given = {what: value for what, value in changes.items() if value is not None}
    for what, value in given.items():
        if value < 1:
            raise ModelError(f"{what} is {value}; expected 1 or more")
    numbers: dict[str, Any] = given
    return replace(found, **numbers)


def _from_folder(name: str) -> ModelShape:
    path = Path(name) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model is {name!r}, and {str(path)!r} cannot be read; expected one of {', '.join(SHAPES)}, or a "
            "folder with a config.json"
        ) from error
    return _of_config(name, config)


def _of_config(name: str, config: Any) -> ModelShape:
    kind = config.get("model_type") if isinstance(config, dict) else None
    names = {
        "gpt2": ("n_layer", "n_head", "n_embd", "n_positions"),
        "bert": ("num_hidden_layers", "num_attention_heads", "hidden_size", "max_position_embeddings"),
    }
    if kind not in names:
        raise ModelError(f"model {name!r} is a {kind!r}; expected a model_type of {', '.join(names)}")
    numbers = [config.get(field) for field in names[kind]]
    if not all(isinstance(number, int) and number > 0 for number in numbers):
        raise ModelError(f"config.json of {name!r} has {dict(zip(names[kind], numbers, strict=True))}")
    layers, heads, width, positions = numbers
    return ModelShape(Path(name).name or name, layers, heads, width // heads, positions, kind == "gpt2")
