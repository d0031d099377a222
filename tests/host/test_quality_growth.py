# SPDX-License-Identifier: BSD-2-Clause
"""What a growing cache costs, on a tiny model whose rows grow louder: doubled, clamped, or neither."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from spatten.catalog import LoadedModel, load
from spatten.quality import growth
from spatten.quality.growth import Cost, Rule, cost_of, float_cost, page
from spatten_drivers import Emulator
from tests.host.tiny_models import tiny_gpt2

TEXTS = np.random.default_rng(0).integers(1, 300, (3, 40)).tolist()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A GPT-2 whose later positions are louder than those of the prompt."""
    found = load(tiny_gpt2(tmp_path_factory.mktemp("gpt2")))
    found.model.transformer.wpe.weight.data *= 20.0
    found.model.transformer.h[0].attn.c_attn.weight.data *= 5.0
    return found


def cost(loaded: LoadedModel, *rule: object) -> Cost:
    steps: list[None] = []
    found = cost_of(loaded, TEXTS, Rule(*rule), Emulator(memory_bytes=1 << 24), lambda: steps.append(None))
    assert len(steps) == len(TEXTS)
    return found


def test_doubling_rewrites_and_never_clamps(loaded: LoadedModel) -> None:
    doubled, saturating = cost(loaded, 12, "double"), cost(loaded, 12, "saturate")
    assert doubled.rescaled > 0
    assert doubled.saturated == 0
    assert doubled.written > saturating.written
    assert saturating.rescaled == 0
    assert 0 < saturating.saturated < 0.1


def test_the_text_at_once_needs_neither(loaded: LoadedModel) -> None:
    whole = cost(loaded, 12, "whole")
    assert (whole.rescaled, whole.saturated) == (0, 0)
    np.testing.assert_allclose(whole.surprise, float_cost(loaded, TEXTS).surprise, atol=2e-3)


def test_headroom_clamps_less(loaded: LoadedModel) -> None:
    shares = [cost(loaded, 8, "saturate", headroom).saturated for headroom in (1.0, 1.5, 4.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_page_compares_with_float_and_with_appending_once() -> None:
    costs = [
        (None, Cost(np.array([2.0, 2.2]))),
        (Rule(8, "double"), Cost(np.array([2.1, 2.3]), rescaled=7, written=300)),
        (Rule(8, "saturate", 1.5), Cost(np.array([2.0, 2.2]), saturated=0.00125, written=200)),
    ]
    lines = [line for line in page(costs, "the command").splitlines() if line.startswith("|")]
    assert lines[2] == "| float |  |  | 8.17 (7.39 to 9.03) | baseline |  |  |  |"
    assert lines[3] == (
        "| 8 | double | 1.0 | 9.03 (8.17 to 9.97) | +10.5 % (+10.5 to +10.5) | 7 | 0.000 % | 1.50x |"
    )
    assert lines[4] == (
        "| 8 | saturate | 1.5 | 8.17 (7.39 to 9.03) | +0.0 % (+0.0 to +0.0) | 0 | 0.125 % | 1.00x |"
    )
    assert "Made by `the command`" in page(costs, "the command")


def test_a_page_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "windows", lambda count, seed: pytest.fail("worked first"))
    (tmp_path / "page.md").mkdir()
    result = CliRunner().invoke(growth.app, ["--out", str(tmp_path / "page.md")])
    assert result.exit_code == 1
    assert "page.md" in result.stderr
