# SPDX-License-Identifier: BSD-2-Clause
"""What tokens start with: by hand, on a device, and who survives by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import spatten
from spatten import Schedule
from spatten.hf.prior import prior_importance
from spatten_drivers import Device, Quantization, Sequence, Shape
from spatten_drivers.errors import OperandError
from tests.host.tiny_models import sharp_bert, tokens

UNIT = 1 << 12


def test_a_start_by_hand() -> None:
    """Two heads of three tokens, whose values are 5, 13 and 0 long over both heads: 6 on average."""
    values = np.zeros((2, 3, 2), np.float32)
    values[0, 0], values[1, 1] = (3, 4), (5, 12)
    assert prior_importance(values, 1.5).tolist() == [5 * UNIT // 2, 13 * UNIT // 2, 0]
    assert prior_importance(values, 1e9).tolist() == [(1 << 32) - 1, (1 << 32) - 1, 0]
    assert prior_importance(0 * values, 1.0).tolist() == [0, 0, 0]


def test_the_longest_values_survive_a_start_that_outweighs_all(device: Device) -> None:
    model, ids, kept = sharp_bert(), tokens(1, 40), list[torch.Tensor]()
    value = model.encoder.layer[0].attention.self.value
    schedule = Schedule(tokens=(1.0, 0.5, 0.5, 0.5), prior=1000.0, protect_first=0, protect_last=0)
    with torch.inference_mode(), spatten.attach(model, schedule=schedule, device=device) as session:
        value.register_forward_hook(lambda _module, _given, found: kept.append(found))
        model(ids)
    order = kept[0][0].norm(dim=-1).argsort(descending=True).tolist()
    survivors = set(session.record.layers[0].survivors)
    assert len(survivors) == 20
    assert survivors >= set(order[:15])
    assert not survivors & set(order[-15:])


def test_importance_goes_on_from_its_start(device: Device) -> None:
    """What the jobs of a text answer is the start and what they give without one."""
    model, ids = sharp_bert(), tokens(1, 24)
    found = [_importance(model, ids, prior, device) for prior in (0.0, 1.0)]
    assert found[0].sum() == pytest.approx(4 * 24 * UNIT, rel=1e-3)  # each of 4 heads gives each query 1
    start = found[1].astype(np.int64) - found[0]
    assert start.sum() == pytest.approx(4 * 24 * UNIT, rel=1e-3)
    assert start.min() < 0.95 * start.mean() < start.max()


def _importance(model: torch.nn.Module, ids: torch.Tensor, prior: float, device: Device) -> np.ndarray:
    """Of the tokens behind the only layer that counts."""
    schedule, told = Schedule(prior=prior), []
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        from spatten.hf.forward import ForwardPass

        finish = ForwardPass._finish
        patch.setattr(
            ForwardPass,
            "_finish",
            lambda self, row, result: (
                told.append(result.answer.token_importance),
                finish(self, row, result),
            ),
        )
        with spatten.attach(model, schedule=schedule, device=device):
            model(ids)
    return np.array(told[0])


def test_more_words_than_slots_are_refused(device: Device) -> None:
    sequence = Sequence(device, Shape(1, 1, 32, 8), Quantization.static(8))
    with pytest.raises(OperandError, match="9 words of importance; the sequence holds 8 slots"):
        sequence.begin_importance(np.zeros(9, np.uint32))
    sequence.free()
