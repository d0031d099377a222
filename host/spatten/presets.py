# SPDX-License-Identifier: BSD-2-Clause
"""Schedules by name. A preset is a rule: it needs the number of layers and the length of the input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from spatten_drivers import Quantization
from spatten_drivers.errors import ConfigError

from .schedule import Schedule, load_schedule, paper_schedule

#: Not a preset: the schedule that a model brings along in its config.
OWN = "own"


class Preset(NamedTuple):
    """What a preset does, in a sentence, and how it is made from (layers, tokens of the input)."""

    description: str
    make: Callable[[int, int], Schedule]


def _dense(bits: int) -> Callable[[int, int], Schedule]:
    return lambda layers, length: Schedule(quantization=Quantization.static(bits))


def _progressive(layers: int, length: int) -> Schedule:
    return Schedule(quantization=Quantization.progressive(6, 4, 0.1))


def _paper_bert(layers: int, length: int) -> Schedule:
    quantization = Quantization.progressive(6, 4, 0.1)
    return paper_schedule(layers, tokens=0.7, heads=0.9, length=length, quantization=quantization)


def _paper_gpt2(layers: int, length: int) -> Schedule:
    quantization = Quantization.progressive(6, 4, 0.1)
    options = {"values": 0.3, "quantization": quantization, "prune_prefill": False, "protect_last": 1}
    return paper_schedule(layers, tokens=0.4, heads=0.9, **options)


def _recent_gpt2(layers: int, length: int) -> Schedule:
    options = {"quantization": Quantization.static(6), "prune_prefill": False, "protect_last": 32}
    return paper_schedule(layers, tokens=0.7, **options)


def _lean_gpt2(layers: int, length: int) -> Schedule:
    quantization = replace(Quantization.static(6), v_msb_bits=4)
    options = {"quantization": quantization, "prune_prefill": False, "protect_last": 96, "decay": 0.5}
    return paper_schedule(layers, tokens=0.55, **options)


def _keys_gpt2(layers: int, length: int) -> Schedule:
    return paper_schedule(layers, **_BY_KEY)


def _lean_keys_gpt2(layers: int, length: int) -> Schedule:
    return paper_schedule(layers, **_BY_KEY, tokens=0.6, protect_last=96, decay=0.5)


#: Where V has four bits, a scale that doubles costs one of them: what is louder than its scale is clamped.
_BY_KEY: dict[str, Any] = {
    "quantization": Quantization.by_key(4, 4, 1 / 64, 4, growth="saturate"),
    "value_share": 0.003,
    "prune_prefill": False,
}


def _gentle(layers: int, length: int) -> Schedule:
    quantization = Quantization.progressive(8, 4, 0.1)
    return paper_schedule(layers, tokens=0.9, heads=1.0, length=length, quantization=quantization)


PRESETS: dict[str, Preset] = {
    "dense": Preset("Nothing pruned, 12 bits: the reference for everything else.", _dense(12)),
    "dense-8bit": Preset("Nothing pruned, 8 bits static.", _dense(8)),
    "progressive": Preset("Nothing pruned; 6-bit MSBs first, 4 LSBs where the row is unsure.", _progressive),
    "gentle": Preset(
        "A tenth of the tokens pruned on average, 8+4 bits progressive; no fine-tuning needed.", _gentle
    ),
    "paper-bert": Preset(
        "The paper's BERT rule: 30 % of tokens and 10 % of heads pruned on average beyond the front layers, "
        "more on longer inputs, 6+4 bits progressive. Meant for a model fine-tuned with pruning.",
        _paper_bert,
    ),
    "paper-gpt2": Preset(
        "The paper's GPT-2 rule: steps attend to 40 % of the tokens on average, 30 % of the values, 90 % of "
        "the heads, 6+4 bits progressive; the prompt itself is read whole.",
        _paper_gpt2,
    ),
    "recent-gpt2": Preset(
        "For a GPT-2 that was not fine-tuned: steps attend to the 32 newest tokens and, by importance, to "
        "70 % of all tokens on average; every head and value, 6 bits static; the prompt itself is read "
        "whole.",
        _recent_gpt2,
    ),
    "lean-gpt2": Preset(
        "For long generations of a GPT-2 that was not fine-tuned, a tenth of the bytes of 32 bit: steps "
        "attend to the 96 newest tokens and, by an importance that halves at each step, to 55 % of all "
        "tokens on average; every head and value, K of 6 bits and V of 4; the prompt itself is read whole.",
        _lean_gpt2,
    ),
    "keys-gpt2": Preset(
        "For a GPT-2 that was not fine-tuned, nothing pruned: steps read K of 4 bits and 4 more of the keys "
        "that are likely by them, above 1/64, and V of 4 bits where the weight is not below 0.003 of the "
        "greatest; the prompt itself is read whole. For devices of contract 1.1.",
        _keys_gpt2,
    ),
    "lean-keys-gpt2": Preset(
        "keys-gpt2 for long generations: steps attend to the 96 newest tokens and, by an importance that "
        "halves at each step, to 60 % of all tokens on average.",
        _lean_keys_gpt2,
    ),
}


def preset(name: str, layers: int, length: int) -> Schedule:
    """The schedule a preset gives for a model of ``layers`` layers and an input of ``length`` tokens."""
    if name not in PRESETS:
        raise _unknown(name)
    return PRESETS[name].make(layers, length).with_(name=name)


def chosen_schedule(given: str) -> str | Schedule:
    """A preset's name as it is, a ``.toml`` or ``.json`` file as what it says.

    Raises
    ------
    ConfigError : neither a preset nor a readable file.
    """
    if given in PRESETS:
        return given
    if Path(given).suffix in (".toml", ".json"):
        return load_schedule(given)
    raise _unknown(given)


def _unknown(given: str) -> ConfigError:
    return ConfigError(f"schedule is {given!r}; expected one of {sorted(PRESETS)}, or a .toml or .json file")
