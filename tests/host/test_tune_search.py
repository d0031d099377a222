# SPDX-License-Identifier: BSD-2-Clause
"""A search looks at many schedules on few rows, and at the best of them again on more."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from spatten.tune.budget import Fit
from spatten.tune.knobs import PRIORS, Knobs
from spatten.tune.search import AGAIN, AHEAD, Search
from spatten.tune.state import State

PAPER = Knobs.paper(4, generates=False)
#: Distance by format on few rows, and by prior; heads count less and a front least. More rows see it the
#: other way round.
DISTANCES = {"6": 0, "4": 1, "12": 2}


class _Any:
    """Bytes of which every schedule keeps every budget."""

    def __init__(self) -> None:
        self.likes: list[tuple[str, Fit | None]] = []

    def fitted(self, knobs: Knobs, budget: float, *, like: Fit | None) -> Fit:
        self.likes.append((knobs.formats, like))
        return replace(knobs, tokens=0.5), budget


class _Looks:
    """A search whose distances are made up, and what it asked for: how many rows, which knobs."""

    def __init__(self, folder: Path, *, closer: bool = True, screens: int = 1) -> None:
        self.asked: list[tuple[str, Knobs]] = []
        self.state, self.bytes = State(folder, {}), _Any()
        self.search = Search(
            PAPER,
            self.bytes,
            partial(self._distance, "few"),
            self.state,
            closer=partial(self._distance, "more") if closer else None,
            screens=screens,
        )

    def _distance(self, rows: str, knobs: Knobs) -> float:
        self.asked.append((rows, knobs))
        distance = DISTANCES.get(knobs.formats, 10) + (1 - knobs.heads) - knobs.front / 100 + knobs.prior
        return distance if rows == "few" else -distance

    def on(self, rows: str) -> list[tuple[str, float, int]]:
        return [_kind(knobs) for asked, knobs in self.asked if asked == rows]


def _kind(knobs: Knobs) -> tuple[str, float, int]:
    return knobs.formats, knobs.heads, knobs.front


def test_the_best_on_few_rows_are_ranked_on_more(tmp_path: Path) -> None:
    """What is first by luck falls behind; what was far behind already is not looked at again."""
    looks = _Looks(tmp_path)
    first, second = looks.search.finalists(8.0, 2)
    assert [_kind(found.knobs) for found in (first, second)] == [("6", 0.9, 2), ("6", 0.9, 3)]
    assert first.distance == pytest.approx(-0.08), "its distance is that on more rows"
    again = [(1.0, 3), (1.0, 2), (1.0, 1), (1.0, 1), (0.9, 3), (0.9, 2)]  # twice front 1: it has two slopes
    assert looks.on("more") == [("6", *kind) for kind in again]


def test_the_best_openings_are_looked_at_in_every_shape_and_the_best_shapes_from_every_prior(
    tmp_path: Path,
) -> None:
    looks = _Looks(tmp_path)
    looks.search.candidates(8.0)
    seen = looks.on("few")
    openings = [_kind(knobs) for knobs in PAPER.openings()]
    assert seen[: len(openings)] == openings
    ahead = [("6", 1.0), ("6", 0.9), ("4", 1.0)]
    shaped = [(*kind, front) for kind in ahead for front in (2, 3, 1)]
    assert seen[len(openings) : -6] == shaped
    begun = [(_kind(knobs), knobs.prior) for _, knobs in looks.asked[-6:]]
    best = [("6", 1.0, 3), ("6", 1.0, 2), ("6", 1.0, 1)]
    assert begun == [(kind, prior) for kind in best for prior in PRIORS[1:]]
    assert len(ahead) == len(best) == AHEAD


def test_what_is_left_of_the_looks_turns_the_best_one_knob_at_a_time(tmp_path: Path) -> None:
    count = len(list(PAPER.openings())) + AHEAD * (3 + 2) + 4
    found = _Looks(tmp_path, screens=count).search.candidates(8.0)
    assert len(found) == count
    turned = found[-4:]
    assert len({candidate.turned for candidate in turned}) == 4
    changed = [
        _changes(candidate.knobs, replace(PAPER, formats="6", heads=1.0, front=3)) for candidate in turned
    ]
    assert all(len(names) == 1 for names in changed)


def _changes(knobs: Knobs, other: Knobs) -> set[str]:
    ours, theirs = replace(knobs, tokens=1.0).to_dict(), other.to_dict()
    return {name for name in ours if ours[name] != theirs[name]}


def test_without_more_rows_the_first_look_decides(tmp_path: Path) -> None:
    looks = _Looks(tmp_path, closer=False)
    found = looks.search.finalists(8.0, 2)
    assert [_kind(candidate.knobs) for candidate in found] == [("6", 1.0, 3), ("6", 1.0, 2)]
    assert looks.on("more") == []


def test_what_was_looked_at_again_is_known(tmp_path: Path) -> None:
    before = _Looks(tmp_path)
    found = before.search.finalists(8.0, 2)
    before.state.close()
    looks = _Looks(tmp_path)
    assert looks.search.finalists(8.0, 2) == found
    assert looks.asked == []
    kept = json.loads((tmp_path / "search.json").read_text())["results"]
    assert sum(key.startswith("again 8 ") for key in kept) == AGAIN


@pytest.mark.parametrize("count", [1, AGAIN + 2])
def test_as_many_are_named_as_are_asked_for(count: int, tmp_path: Path) -> None:
    assert len(_Looks(tmp_path).search.finalists(8.0, count)) == count


@pytest.mark.parametrize("layers", [1, 2, 6, 12, 24])
def test_shapes_are_few_and_leave_a_layer_that_prunes(layers: int) -> None:
    knobs = Knobs.paper(layers, generates=False)
    shapes = list(knobs.shapes())
    assert 1 <= len(shapes) <= 8
    assert len({(knobs.front, knobs.slope), *shapes}) == len(shapes) + 1
    assert all(0 <= front < layers for front, _ in shapes)
    assert shapes[-1] == (knobs.front, 0.0)


def test_a_fit_starts_from_the_last_one_of_its_format(tmp_path: Path) -> None:
    """And so where looks are known already: a call that is taken up aims as the first would have."""
    openings = list(PAPER.openings())
    before = _Looks(tmp_path)
    before.search.candidates(8.0)
    for knobs, (formats, like) in zip(openings, before.bytes.likes, strict=False):
        assert formats == knobs.formats
        assert like == (None if knobs.heads < 1.0 else (replace(knobs, heads=0.9, tokens=0.5), 8.0))
    known = len(openings) + 2
    before.state.close()
    after = _Looks(tmp_path)
    after.state.results = dict(list(before.state.results.items())[:known])
    after.search.candidates(8.0)
    assert after.bytes.likes == before.bytes.likes[known:]


def test_knobs_of_one_schedule_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all tokens are kept shapes are alike, on few rows and on more."""

    def _whole(self: _Any, knobs: Knobs, budget: float, *, like: Fit | None) -> Fit:
        return replace(knobs, tokens=1.0), budget

    monkeypatch.setattr(_Any, "fitted", _whole)
    looks = _Looks(tmp_path)
    found = looks.search.finalists(8.0, 6)
    schedules = [(rows, str(knobs.schedule())) for rows, knobs in looks.asked]
    assert len(set(schedules)) == len(schedules)
    assert len({str(candidate.knobs.schedule()) for candidate in found}) == len(found) == 6
