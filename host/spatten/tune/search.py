# SPDX-License-Identifier: BSD-2-Clause
"""The search for a schedule: many are looked at without training, few are tried with some."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import numpy as np

from ..errors import InputError
from .budget import Bytes, Fit
from .knobs import Knobs
from .state import State
from .trainer import Progress

#: Of the schedules looked at, so many are looked at again, on more rows: of two dozen one is best on a few
#: rows by luck. A rung of successive halving (Jamieson and Talwalkar 2016), for schedules rather than epochs.
AGAIN = 6
#: Openings that are looked at in other shapes too.
AHEAD = 3

#: Budgets that a search for a bound of loss goes through by halving.
LADDER = (4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 20.0, 24.0, 28.0, 32.0, 40.0)


class NoScheduleError(InputError):
    """Nothing keeps the budget on these examples."""


@dataclass(frozen=True)
class Candidate:
    """A schedule within the budget: bytes below dense 32 bit, distance on the development examples."""

    knobs: Knobs
    ratio: float
    distance: float
    turned: str


_BY_DISTANCE = attrgetter("distance")


class Search:
    """Schedules within a budget, those first that change the model's answers least.

    Parameters
    ----------
    start : the paper's rule for this model.
    bytes : counts.
    distance : of the answers that a schedule leaves, without training, from the dense model's.
    closer : the same on more rows; ``None`` if there are no more.
    state : results so far.
    screens : schedules that are looked at for one budget, at most; the openings are in any case.
    seed : of the order in which knobs are turned.
    progress : told after every schedule looked at how many were, and how many will be at most.
    """

    def __init__(
        self,
        start: Knobs,
        bytes: Bytes,
        distance: Callable[[Knobs], float],
        state: State,
        *,
        closer: Callable[[Knobs], float] | None = None,
        screens: int = 24,
        seed: int = 0,
        progress: Progress = lambda *_: None,
    ) -> None:
        self.start, self.bytes, self.state = start, bytes, state
        self.distance, self.closer = _once_a_schedule(distance), closer and _once_a_schedule(closer)
        self.screens, self.seed, self.progress = screens, seed, progress
        self._looks = self._most_looks = 0
        self._fits: dict[str, Fit] = {}

    def finalists(self, budget: float, count: int) -> list[Candidate]:
        """The ``count`` best, of formats, heads, priors or shapes that differ: like ones train alike.

        Raises
        ------
        NoScheduleError : nothing within the budget was found.
        """
        found = sorted(self.candidates(budget), key=_BY_DISTANCE)
        if not found:
            raise _none_keeps(budget)
        known, kinds = set[str](), dict[tuple[Any, ...], Candidate]()
        for candidate in found:
            knobs, schedule = candidate.knobs, str(candidate.knobs.schedule())
            if schedule not in known:
                kinds.setdefault((knobs.formats, knobs.heads, knobs.prior, *knobs.shape), candidate)
            known.add(schedule)
        return self._looked_closer(list(kinds.values())[: max(AGAIN, count)], budget)[:count]

    def _looked_closer(self, found: list[Candidate], budget: float) -> list[Candidate]:
        """``found`` in the order of their distances on more rows, where there are more."""
        if self.closer is None:
            return found
        again = []
        for candidate in found:
            self.progress("looking again, on more rows", len(again), len(found))
            again.append(self._again(candidate, self.closer, budget))
        return sorted(again, key=_BY_DISTANCE)

    def _again(self, candidate: Candidate, closer: Callable[[Knobs], float], budget: float) -> Candidate:
        def work() -> Any:
            knobs = candidate.knobs
            return {"knobs": knobs.to_dict(), "ratio": candidate.ratio, "distance": closer(knobs)}

        asked = json.dumps(candidate.knobs.to_dict(), sort_keys=True)
        found = self.state.once(f"again {budget:g} {asked}", work)
        return replace(candidate, distance=found["distance"])

    def check(self, budget: float) -> None:
        """Refuse, before anything is trained, what the lengths alone rule out.

        Raises
        ------
        NoScheduleError : none of the openings can keep the budget.
        """
        if not any(self.bytes.reaches(knobs, budget) for knobs in self.start.openings()):
            raise _none_keeps(budget)

    def candidates(self, budget: float) -> list[Candidate]:
        """The openings, the best in other shapes, the best from priors, then one knob at a time, uphill."""
        openings, shapes = list(self.start.openings()), list(self.start.shapes())
        priors = list(self.start.priors())
        most = len(openings) + AHEAD * (len(shapes) + len(priors))
        self._looks, self._most_looks = 0, max(self.screens, most)
        found = self._looked_at_all([(f"{k.formats} bit, heads {k.heads}", k) for k in openings], budget)
        if not found:
            return []
        shaped = [
            (f"front {front}, slope {slope}", replace(knobs, front=front, slope=slope))
            for knobs in _ahead(found)
            for front, slope in shapes
        ]
        found += self._looked_at_all(shaped, budget)
        begun = [(f"prior {prior:g}", replace(k, prior=prior)) for k in _ahead(found) for prior in priors]
        return self._climbed(found + self._looked_at_all(begun, budget), budget)

    def _climbed(self, found: list[Candidate], budget: float) -> list[Candidate]:
        """``found`` and what was looked at from the best of them on, until no single knob helps."""
        rng = np.random.default_rng(self.seed)
        while self._looks < self.screens:
            best = min(found, key=_BY_DISTANCE)
            turns = list(best.knobs.neighbours())
            mixed = [turns[index] for index in rng.permutation(len(turns)).tolist()]
            # What turns the shape goes first: it tells most.
            for turn in sorted(mixed, key=lambda turn: turn[1].shape == best.knobs.shape):
                made = self._looked_at_all([turn], budget)
                found += made
                if self._looks >= self.screens or any(c.distance < best.distance for c in made):
                    break
            else:
                break
        return found

    def _looked_at_all(self, turns: Sequence[tuple[str, Knobs]], budget: float) -> list[Candidate]:
        """Those that can keep the budget."""
        looked = [self._looked_at(knobs, budget, turned) for turned, knobs in turns]
        return [candidate for candidate in looked if candidate is not None]

    def _looked_at(self, knobs: Knobs, budget: float, name: str) -> Candidate | None:
        """Fit into the budget and look at it; what was looked at before is known."""

        def work() -> Any:
            fitted = self.bytes.fitted(knobs, budget, like=self._fits.get(knobs.formats))
            if fitted is None:
                return None
            turned, ratio = fitted
            return {"knobs": turned.to_dict(), "ratio": ratio, "distance": self.distance(turned)}

        asked = json.dumps(replace(knobs, tokens=1.0).to_dict(), sort_keys=True)
        result = self.state.once(f"look {budget:g} {asked}", work)
        self._looks += 1
        self.progress("looking at schedules", self._looks, self._most_looks)
        if result is None:
            return None
        found = Candidate(knobs_of(result["knobs"]), result["ratio"], result["distance"], name)
        self._fits[knobs.formats] = found.knobs, found.ratio
        return found


def _ahead(found: list[Candidate]) -> list[Knobs]:
    """Of the best ones that are looked at further."""
    return [candidate.knobs for candidate in sorted(found, key=_BY_DISTANCE)[:AHEAD]]


def _once_a_schedule(distance: Callable[[Knobs], float]) -> Callable[[Knobs], float]:
    """``distance``, which knobs that come to a schedule that it knows do not run again."""
    known: dict[str, float] = {}

    def found(knobs: Knobs) -> float:
        schedule = str(knobs.schedule())
        if schedule not in known:
            known[schedule] = distance(knobs)
        return known[schedule]

    return found


def _none_keeps(budget: float) -> NoScheduleError:
    return NoScheduleError(
        f"no schedule reads {budget:g}x fewer bytes on these examples; ask for less, or give longer texts"
    )


def knobs_of(record: dict[str, Any]) -> Knobs:
    """Knobs from their JSON-able form.

    Raises
    ------
    InputError : another version wrote them.
    """
    try:
        tilt = tuple((int(layer), float(factor)) for layer, factor in record["tilt"])
        found = Knobs(**{**record, "tilt": tilt})
        found.schedule()
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"a state of a tuning holds knobs that this version does not know ({error}); delete its folder "
            "'tuning' to start anew"
        ) from error
    return found


def widest(bound_held: Callable[[float], bool]) -> float | None:
    """The greatest budget of :data:`LADDER` at which the bound holds, by halving; ``None`` if none."""
    low, high = -1, len(LADDER)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if bound_held(LADDER[middle]) else (low, middle)
    return LADDER[low] if low >= 0 else None
