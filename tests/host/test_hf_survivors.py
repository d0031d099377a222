# SPDX-License-Identifier: BSD-2-Clause
"""Who lives to the end of a pass, as one asks who pools: the record's own words, by column of the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

import spatten
from spatten import Schedule
from spatten.errors import InputError
from spatten.tune.data import Examples
from spatten.tune.surrogate import surrogate
from spatten.tune.tasks import Retrieving, embedded
from tests.host.tiny_models import sharp_bert, sharp_gpt2, tokens

SCHEDULE = Schedule(tokens=(1.0, 0.8, 0.5, 0.3))


def _batch(pad: int = 9) -> dict[str, torch.Tensor]:
    """A short text behind padding on its right, and a longer one."""
    ids = torch.cat([functional.pad(tokens(1, 30 - pad), (0, pad)), tokens(1, 30, seed=2)])
    mask = torch.ones_like(ids)
    mask[0, 30 - pad :] = 0
    return {"input_ids": ids, "attention_mask": mask}


def _alive(record: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the record says of the last layer of the last step: its keys are slots, here columns too."""
    alive = torch.zeros_like(batch["attention_mask"], dtype=torch.bool)
    last = max((job.step, job.layer) for job in record.layers)
    for job in record.layers:
        if (job.step, job.layer) == last:
            alive[job.row, list(job.keys)] = True
    return alive


@pytest.mark.parametrize("make", [sharp_bert, sharp_gpt2])
def test_they_are_the_keys_of_the_last_layer(make: Any) -> None:
    model, batch = make(), _batch()
    with torch.inference_mode(), spatten.attach(model, schedule=SCHEDULE, device="emulator") as session:
        model(**batch)
        found = spatten.survivors(model, batch["attention_mask"])
        assert torch.equal(found, _alive(session.record, batch))
        assert found.sum(dim=1).tolist() == [6, 9]
        with pytest.raises(InputError, match=r"\[1, 30\]; the model's last pass had \[2, 30\]"):
            spatten.survivors(model, batch["attention_mask"][:1])


def test_all_tokens_live_where_nothing_prunes() -> None:
    """Detached, attached with another attention, and behind a call that was refused: no old answer stays."""
    model, batch = sharp_bert(), _batch()
    real = batch["attention_mask"].bool()
    assert torch.equal(spatten.survivors(model, batch["attention_mask"]), real)
    with torch.inference_mode(), spatten.attach(model, schedule=SCHEDULE, device="emulator"):
        model(**batch)
        model.set_attn_implementation("sdpa")
        model(**batch)
        assert torch.equal(spatten.survivors(model, batch["attention_mask"]), real)
        model.set_attn_implementation("spatten")
        model(**batch)
        assert not torch.equal(spatten.survivors(model, batch["attention_mask"]), real)
        with pytest.raises(InputError):
            model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"][:, 1:])
        assert torch.equal(spatten.survivors(model, batch["attention_mask"]), real)
        model(**batch)
    assert torch.equal(spatten.survivors(model, batch["attention_mask"]), real)


def test_training_pools_whom_the_device_leaves() -> None:
    """And no one else: what the others' states are does not matter."""
    model, batch = sharp_bert(), _batch()
    mask = batch["attention_mask"]
    with torch.inference_mode():
        with spatten.attach(model, schedule=SCHEDULE, device="emulator"):
            states = model(**batch).last_hidden_state
            alive = spatten.survivors(model, mask)
            pooled = embedded(model, batch)
        with surrogate(model, SCHEDULE):
            trained = embedded(model, batch)
            assert torch.equal(spatten.survivors(model, mask), alive)
        assert torch.equal(spatten.survivors(model, mask), mask.bool())
    by_hand = [functional.normalize(states[row, alive[row]].mean(dim=0), dim=0) for row in (0, 1)]
    torch.testing.assert_close(pooled, torch.stack(by_hand))
    torch.testing.assert_close(trained, pooled, rtol=0.0, atol=0.02)


def test_gradients_reach_survivors_through_the_mean() -> None:
    model, task = sharp_bert(), Retrieving(Examples([], [], []), 30)
    with surrogate(model.train(), SCHEDULE):
        task.lesson(model, _batch(), pruned=True)[0].backward()
    for name, weight in model.encoder.named_parameters():
        assert weight.grad is not None, name
