# SPDX-License-Identifier: BSD-2-Clause
"""The texts of gpt2-prose: what it learns from, and what it must never see."""

from __future__ import annotations

from ..quality.data import held_out, moby_dick, split, state_of_the_union

#: The texts by the name that results and the model card give them.
SOURCES = {"state-of-the-union": state_of_the_union, "moby-dick": moby_dick}


def training_documents() -> list[str]:
    """Every document that may be learned from, source after source."""
    return [document for load in SOURCES.values() for document in split(load())[0]]


def held_out_texts() -> dict[str, str]:
    """The text of each source that the model is measured on."""
    return {name: held_out(load()) for name, load in SOURCES.items()}
