# SPDX-License-Identifier: BSD-2-Clause
"""How often the surrogate decides as the bit-exact model does: the same texts through both, job by job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

import spatten
from spatten_drivers import Device

from ..record import LayerRecord
from ..schedule import Schedule
from .surrogate import Decision, surrogate


@dataclass
class Agreement:
    """Counts over the layer jobs of some texts.

    Attributes
    ----------
    jobs, same_keys, same_heads : layer jobs, and those with the same live tokens and heads.
    tokens, shared : tokens alive on the device, and those of them alive in the surrogate too.
    rows, refetched, apart : rows (head, query) in jobs with the same survivors, those that refetched on the
        device, and by how much the two numbers of refetched rows of a job differ, summed up. The device
        answers how many rows refetched, not which.
    worst : largest difference of an output element, relative to the largest element of that output.
    """

    jobs: int = 0
    same_keys: int = 0
    same_heads: int = 0
    tokens: int = 0
    shared: int = 0
    rows: int = 0
    refetched: int = 0
    apart: int = 0
    worst: float = 0.0

    def add(self, record: LayerRecord, keys: list[int], heads: list[int], refetched: int) -> None:
        """Count one job."""
        same = list(record.keys) == keys, list(record.heads) == heads
        self.jobs += 1
        self.same_keys += same[0]
        self.same_heads += same[1]
        self.tokens += len(record.keys)
        self.shared += len(set(record.keys) & set(keys))
        if all(same):
            self.rows += record.rows
            self.refetched += record.refetched_rows
            self.apart += abs(record.refetched_rows - refetched)

    def cells(self) -> list[str]:
        """As the page shows them."""
        return [
            str(self.jobs),
            f"{self.same_keys / self.jobs:.1%}",
            f"{self.same_heads / self.jobs:.1%}",
            f"{self.shared / self.tokens:.2%}",
            f"{self.refetched / self.rows:.1%}" if self.rows else "",
            f"{self.apart / self.rows:.2%}" if self.rows else "",
        ]


def agreement(
    model: PreTrainedModel, texts: Sequence[list[int]], schedule: Schedule, device: Device | str = "emulator"
) -> Agreement:
    """Token ids, one text at a time through the device, all as one padded batch through the surrogate."""
    found = Agreement()
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(text)) for text in texts], batch_first=True).long()
    told: list[Decision] = []
    with torch.inference_mode():
        with surrogate(model, schedule, watch=told.append):
            padded = _output(model(input_ids=ids, attention_mask=mask))
        with spatten.attach(model, schedule=schedule, device=device) as session:
            for row, text in enumerate(texts):
                session.reset_record()
                exact = _output(model(input_ids=torch.tensor([text])))[0]
                difference = (padded[row, : len(text)] - exact).abs().max() / exact.abs().max()
                found.worst = max(found.worst, float(difference))
                for record, decision in zip(session.record.layers, told, strict=True):
                    found.add(record, *_of_row(decision, row))
    return found


def _of_row(decision: Decision, row: int) -> tuple[list[int], list[int], int]:
    """Live keys, live heads and refetched rows of one text."""
    heads, queries = decision.heads[row], decision.queries[row]
    again = 0
    if decision.refetched is not None:
        again = int((decision.refetched[row] & heads[:, None] & queries[None]).sum())
    return decision.keys[row].nonzero()[:, 0].tolist(), heads.nonzero()[:, 0].tolist(), again


def _output(answer: Any) -> torch.Tensor:
    return answer.logits if hasattr(answer, "logits") else answer.last_hidden_state
