# SPDX-License-Identifier: BSD-2-Clause
"""The training loop: next-token loss in bfloat16, checkpoints, and a run that can be taken up again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import GPT2LMHeadModel

from .batches import Batches
from .checkpoint import load_checkpoint, save_checkpoint
from .optimizer import Optimizers
from .plan import Plan

CHECKPOINT_SECONDS = 180


@dataclass(frozen=True)
class Status:
    """Where a run stands; ``share`` is how much of it is done, ``tokens`` how many it has learned from."""

    step: int
    tokens: int
    seconds: float
    share: float
    loss: float


@dataclass
class Run:
    """A model on its way, with all that is needed to go on."""

    model: GPT2LMHeadModel
    batches: Batches
    plan: Plan
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    optimizers: Optimizers = field(init=False)

    def __post_init__(self) -> None:
        self.optimizers = Optimizers(self.model)

    def save(self, folder: Path) -> None:
        counts = {"step": self.step, "tokens": self.tokens, "seconds": self.seconds}
        states = {"model": self.model.state_dict(), "optimizers": self.optimizers.state_dict()}
        save_checkpoint(folder, counts | states)

    def load(self, folder: Path) -> None:
        """Go on where the run in the folder stopped; `ModelError` when there is no readable one."""
        state = load_checkpoint(folder)
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        self.model.load_state_dict(state["model"])
        self.optimizers.load_state_dict(state["optimizers"])


def train(run: Run, folder: Path, report: Callable[[Status], None], stop_at: int | None = None) -> None:
    """Train until the plan is fulfilled, or until step ``stop_at``; checkpoints go to ``folder``.

    Ctrl-C loses what was learned since the last checkpoint, at most ``CHECKPOINT_SECONDS`` and one step.
    """
    run.model.train()
    started, saved = time.monotonic() - run.seconds, time.monotonic()
    while run.plan.share(run.step, run.seconds) < 1 and run.step != stop_at:
        report(_advance(run))
        run.seconds = time.monotonic() - started
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            run.save(folder)
            saved = time.monotonic()
    run.save(folder)


def _advance(run: Run) -> Status:
    """One step of the optimizers."""
    share = run.plan.share(run.step, run.seconds)
    length = run.plan.length(share)
    torch.manual_seed(run.plan.seed + run.step)  # dropout; a resumed run draws what an unbroken one would
    windows, positions = run.batches.at(run.tokens, run.plan.tokens // length, length)
    loss = next_token_loss(run.model, windows, positions)
    loss.backward()
    run.optimizers.step(run.plan.rate(share))
    run.step, run.tokens = run.step + 1, run.tokens + run.plan.tokens
    return Status(run.step, run.tokens, run.seconds, share, loss.item())


def next_token_loss(model: GPT2LMHeadModel, windows: Tensor, positions: Tensor) -> Tensor:
    """Mean loss in nats of every token after the first; bfloat16 is three times as fast as float32 here."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(input_ids=windows[:, :-1], position_ids=positions, use_cache=False).logits
    return F.cross_entropy(logits.flatten(0, 1).float(), windows[:, 1:].flatten())
