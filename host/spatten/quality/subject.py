# SPDX-License-Identifier: BSD-2-Clause
"""A model whose attention runs as a row of the study says, and what that attention read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import spatten
from spatten_drivers import Device

from ..catalog import LoadedModel
from ..record import RunRecord
from .rows import Row, schedule_of

#: Longer texts are cut; the classification tasks and the passages are made for it.
MAX_TOKENS = 128


@dataclass
class Traffic:
    """K and V bytes read by all jobs, and those of the same jobs dense at 16 bit."""

    read: int = 0
    dense_16: int = 0

    def add(self, record: RunRecord) -> None:
        """Count the jobs of a record."""
        sums = record.totals()
        self.read += sums["kv_bytes"]
        self.dense_16 += sums["dense_bytes_16"]


class Subject:
    """What tasks call; texts go one at a time, so no padding is computed or counted.

    Parameters
    ----------
    loaded : model and tokenizer.
    session : what ``spatten.attach`` gave, or ``None`` for the model's own float attention.
    step : told after every text.
    """

    def __init__(
        self, loaded: LoadedModel, session: Any = None, step: Callable[[], None] = lambda: None
    ) -> None:
        self.loaded, self.session, self.step = loaded, session, step
        self.traffic = Traffic()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Unit-length means over all tokens, pruned ones as they left: [texts, hidden]."""
        return np.stack([self._told(self._embedding, text) for text in texts])

    def log_probs(self, tokens: Sequence[int], context: int) -> NDArray[np.float64]:
        """Log-probabilities of ``tokens[context:]``, each given all before it: [len(tokens) - context].

        The first ``context - 1`` tokens are the prompt, read in one pass; the others are fed one by one
        through the K/V cache, so every scored probability comes from a generation step and feels its pruning.
        """
        return self._told(self._read, tokens, context)

    def _embedding(self, text: str) -> NDArray[np.float64]:
        encoded = self.loaded.tokenizer(text, return_tensors="pt", truncation=True, max_length=MAX_TOKENS)
        states = self.loaded.model(**encoded).last_hidden_state[0]
        return torch.nn.functional.normalize(states.mean(dim=0), dim=0).double().numpy()

    def _read(self, tokens: Sequence[int], context: int) -> NDArray[np.float64]:
        model, ids = self.loaded.model, torch.tensor([list(tokens)])
        answer = model(input_ids=ids[:, : context - 1], use_cache=True, logits_to_keep=1)
        found = []
        for here in range(context - 1, ids.shape[1] - 1):
            feed = ids[:, here : here + 1]
            answer = model(input_ids=feed, past_key_values=answer.past_key_values, use_cache=True)
            found.append(float(answer.logits[0, -1].double().log_softmax(dim=-1)[ids[0, here + 1]]))
        return np.array(found)

    def _told(self, work: Callable[..., NDArray[np.float64]], *arguments: Any) -> NDArray[np.float64]:
        """Do one text's work on a fresh record and count it."""
        if self.session is not None:
            self.session.reset_record()
        with torch.inference_mode():
            result = work(*arguments)
        if self.session is not None:
            self.traffic.add(self.session.record)
        self.step()
        return result


@contextmanager
def subject(
    loaded: LoadedModel, row: Row, device: Device | str, step: Callable[[], None] = lambda: None
) -> Iterator[Subject]:
    """``loaded`` with the attention of ``row`` on ``device``; put back as it was at the end."""
    schedule = schedule_of(row, loaded.model.config.num_hidden_layers)
    if schedule is None:
        yield Subject(loaded, step=step)
    else:
        with spatten.attach(loaded.model, schedule=schedule, device=device) as session:
            yield Subject(loaded, session, step)
