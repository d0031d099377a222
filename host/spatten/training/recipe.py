# SPDX-License-Identifier: BSD-2-Clause
"""What gpt2-prose is: its sizes, its texts, and how its parts are put together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .batches import Batches, token_stream
from .card import Results, card
from .corpus import held_out_texts, training_documents
from .evaluate import measure
from .export import export, halved
from .model import gpt2_config, new_model
from .plan import Plan
from .tokenizer import train_tokenizer
from .train import Run

VOCABULARY = 8192
POSITIONS = 1024

#: Told what is measured and the share of it that is done, 0 to 1.
Told = Callable[[str, float], None]


def prose_tokenizer() -> PreTrainedTokenizerBase:
    """The tokenizer, learned anew; it takes seconds and is the same every time."""
    return train_tokenizer(training_documents(), VOCABULARY, POSITIONS)


def prose_run(plan: Plan) -> Run:
    """A run at its beginning."""
    stream = token_stream(prose_tokenizer(), training_documents(), plan.seed)
    model = new_model(gpt2_config(VOCABULARY, positions=POSITIONS), plan.seed)
    return Run(model, Batches(stream, POSITIONS, plan.seed), plan)


def measure_prose(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, told: Told) -> Results:
    """Results on the held-out part of every text, by the name of the text."""
    return {
        name: measure(model, tokenizer, text, report=lambda share, name=name: told(name, share))
        for name, text in held_out_texts().items()
    }


def export_prose(run: Run, folder: Path, licence: str, told: Told) -> Results:
    """Measure the run's model before and after rounding to float16, and write the folder that ships."""
    tokenizer = prose_tokenizer()
    before = measure_prose(run.model.eval(), tokenizer, lambda name, share: told(f"{name}, float32", share))
    after = measure_prose(halved(run.model), tokenizer, lambda name, share: told(f"{name}, float16", share))
    trained = {
        "step": run.step,
        "tokens": run.tokens,
        "seconds": run.seconds,
        "stream": len(run.batches.stream),
    }
    texts = {"README.md": card(run.model, before, after, trained), "LICENSE": licence}
    export(run.model, tokenizer, texts, folder)
    return after
