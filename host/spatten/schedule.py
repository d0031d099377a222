# SPDX-License-Identifier: BSD-2-Clause
"""What is pruned where: keep ratios by layer, protection, decay and number formats (paper, III and V-A).

A schedule speaks in ratios of a sequence's own length and of a layer's heads; :meth:`Schedule.plan` turns
it into counts for one sequence.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from spatten_drivers import KeyPolicy, Quantization, ValuePolicy
from spatten_drivers.errors import ConfigError
from spatten_drivers.exp2 import WEIGHT_ONE

Ratios = float | tuple[float, ...]

#: Share of layers that the paper leaves whole at the front, for tokens and for heads.
FRONT_TOKENS, FRONT_HEADS = 0.15, 0.30


class Legal(NamedTuple):
    """What the numbers of a field are called, and which are legal."""

    what: str
    rule: str
    holds: Callable[[float], bool]


KEPT = Legal("keep ratio", "0 < ratio <= 1", lambda ratio: 0.0 < ratio <= 1.0)
LIMIT = Legal("share", "0 <= share <= 1", lambda share: 0.0 <= share <= 1.0)


@dataclass(frozen=True)
class Schedule:
    """Pruning and quantization of a whole model.

    Parameters
    ----------
    tokens : share of the sequence's tokens alive in each layer; one number per layer, or one for all.
    heads : share of the heads alive in each layer.
    values : share of the visible values kept per query (local value pruning).
    value_share : values whose weight is below this share of the greatest of its row are not read; 0 reads
        all, one number per layer, or one for all. A device speaks contract 1.1 for it.
    quantization : number formats.
    protect_first : tokens at the front that are never pruned; 1 protects [CLS].
    protect_last : tokens at the end that are never pruned; a generation step always protects its own.
    min_tokens : no layer goes below this many tokens.
    decay : factor on token importance at each generated token (1 keeps everything, 0 forgets).
    prior : importance that the tokens of a first pass start with, by the length of their values in layer 0;
        1 is on average what a layer gives a token, 0 is the paper's.
    prune_prefill : whether a generation's prompt is pruned layer by layer too, or only the steps after it.
    name : what reports call it.

    Raises
    ------
    ConfigError : a ratio is outside 0 < ratio <= 1, or grows from one layer to the next.
    """

    tokens: Ratios = 1.0
    heads: Ratios = 1.0
    values: Ratios = 1.0
    value_share: Ratios = 0.0
    quantization: Quantization = field(default_factory=Quantization)
    protect_first: int = 1
    protect_last: int = 1
    min_tokens: int = 2
    decay: float = 1.0
    prior: float = 0.0
    prune_prefill: bool = True
    name: str = "custom"

    def __post_init__(self) -> None:
        for name in ("tokens", "heads", "values"):
            object.__setattr__(self, name, _ratios(name, getattr(self, name), KEPT))
        object.__setattr__(self, "value_share", _ratios("value_share", self.value_share, LIMIT))
        for name in ("tokens", "heads"):
            ratios = getattr(self, name)
            if isinstance(ratios, tuple) and any(b > a for a, b in pairwise(ratios)):
                raise ConfigError(
                    f"schedule {self.name!r}: {name} grow from one layer to the next in {list(ratios)}; "
                    "expected ratios that never grow: what is pruned once is gone (cascade)"
                )
        for name in ("protect_first", "protect_last", "min_tokens"):
            value = getattr(self, name)
            counts = isinstance(value, int) and not isinstance(value, bool) and value >= 0
            self._require(name, counts, "a count of 0 or more")
        self._require("decay", _is_number(self.decay) and 0.0 <= self.decay <= 1.0, "a factor from 0 to 1")
        self._require("prior", _is_number(self.prior) and 0.0 <= self.prior <= 1000.0, "0 to 1000")
        self._require("prune_prefill", isinstance(self.prune_prefill, bool), "true or false")
        self._require("quantization", isinstance(self.quantization, Quantization), "a Quantization")
        self._require("name", isinstance(self.name, str), "a text")

    def _require(self, name: str, legal: bool, rule: str) -> None:
        if not legal:
            raise ConfigError(f"schedule {self.name!r}: {name} is {getattr(self, name)!r}; expected {rule}")

    def plan(self, layers: int) -> LayerPlan:
        """The ratios of each of ``layers`` layers; a per-layer list of another length is refused."""
        names = ("tokens", "heads", "values", "value_share")
        return LayerPlan(self, *(_per_layer(self, name, layers) for name in names))

    def with_(self, **changes: Any) -> Schedule:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; :meth:`from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Schedule:
        """A schedule from a TOML or JSON table; the inverse of :meth:`to_dict`."""
        if not isinstance(record, Mapping):
            raise ConfigError(f"schedule is {record!r}; expected a table of fields")
        values = dict(record)
        quantization = _quantization(values.pop("quantization", {}))
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            known = sorted(f.name for f in fields(cls))
            raise ConfigError(f"schedule has unknown entries {sorted(unknown)}; expected some of {known}")
        lists = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(quantization=quantization, **lists)


@dataclass(frozen=True)
class LayerPlan:
    """A schedule laid out over the layers of a model."""

    schedule: Schedule
    token_ratios: tuple[float, ...]
    head_ratios: tuple[float, ...]
    value_ratios: tuple[float, ...]
    value_shares: tuple[float, ...]

    @cached_property
    def prunes(self) -> bool:
        """Whether anything is pruned in any layer."""
        kept = (*self.token_ratios, *self.head_ratios, *self.value_ratios)
        return any(ratio < 1.0 for ratio in kept) or any(self.value_shares)

    def tokens(self, layer: int, length: int) -> int:
        """Tokens of a sequence of ``length`` that may be alive in ``layer``."""
        floor = max(1, self.schedule.min_tokens, self.schedule.protect_first + self.schedule.protect_last)
        return min(length, max(floor, _share(self.token_ratios[layer], length)))

    def heads(self, layer: int, total: int) -> int:
        """Heads that may be alive in ``layer``."""
        return max(1, _share(self.head_ratios[layer], total))

    def values(self, layer: int, keys: int) -> int:
        """Values kept per query in ``layer`` when ``keys`` keys are alive."""
        return max(1, _share(self.value_ratios[layer], keys))

    def value_limit(self, layer: int) -> int:
        """The least weight whose value is read in ``layer``, where the greatest of a row is 65535."""
        return math.ceil(self.value_shares[layer] * WEIGHT_ONE - 1e-9)


def interpolated(average: float, layers: int, front: float, slope: float = 0.5) -> tuple[float, ...]:
    """The paper's rule: the first ``front`` share of layers whole, then a straight line with this average.

    The pruned layers run from ``r_start`` to ``r_end`` with ``r_start + r_end = 2 * average``; the line
    starts at ``1 + slope`` times its average, or at 1: with 0 it is flat, and below 1 it stays above zero.
    """
    _check_average(average)
    whole = min(layers - 1, math.ceil(front * layers)) if layers > 1 else 0
    pruned = layers - whole
    start = min(1.0, average * (1.0 + slope))
    end = 2 * average - start
    steps = (
        [start + (end - start) * i / max(1, pruned - 1) for i in range(pruned)] if pruned > 1 else [average]
    )
    return (1.0,) * whole + tuple(steps)


def paper_schedule(
    layers: int,
    *,
    tokens: float = 1.0,
    heads: float = 1.0,
    length: int | None = None,
    reference_length: int = 128,
    **options: Any,
) -> Schedule:
    """Tokens and heads by the paper's rule from average keep ratios.

    Parameters
    ----------
    layers : layers of the model.
    tokens, heads : average keep ratio of the layers that are pruned at all.
    length : tokens of the input; inputs longer than ``reference_length`` keep a smaller share, shorter ones a
        greater share: the share that is pruned scales with log2 of the length.

    Raises
    ------
    ConfigError : a ratio is outside 0 < ratio <= 1, or a length is too short to have a logarithm.
    """
    _check_average(tokens)
    for name, value, least in (("layers", layers, 1), ("reference_length", reference_length, 2)):
        if value < least:
            raise ConfigError(f"{name} is {value}; expected {least} or more")
    if length is not None:
        dropped = (1.0 - tokens) * math.log2(max(2, length)) / math.log2(reference_length)
        tokens = min(1.0, max(0.1, 1.0 - dropped))
    ratios = {
        "tokens": interpolated(tokens, layers, FRONT_TOKENS),
        "heads": interpolated(heads, layers, FRONT_HEADS),
    }
    return Schedule(**{"name": "paper", **ratios, **options})


def load_schedule(path: str | Path) -> Schedule:
    """A schedule from a ``.toml`` or ``.json`` file.

    Raises
    ------
    ConfigError : the file is missing, does not parse, or holds unknown entries; the message names the file.
    """
    source = Path(path)
    if source.suffix not in (".toml", ".json"):
        raise ConfigError(f"schedule file {str(source)!r} is of an unknown kind; expected .toml or .json")
    try:
        text = source.read_text(encoding="utf-8")
        record = tomllib.loads(text) if source.suffix == ".toml" else json.loads(text)
        if not isinstance(record, dict):
            raise ConfigError(f"holds a {type(record).__name__}; expected a table of a schedule's fields")
        return Schedule.from_dict({"name": source.stem, **record})
    except OSError as error:
        raise ConfigError(f"schedule file {str(source)!r} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"schedule file {str(source)!r}: {error}") from error


def _share(ratio: float, count: int) -> int:
    """``ratio`` of ``count``, rounded half up; a tiny slack forgives 0.7 * 10 = 6.999..."""
    return min(count, math.floor(ratio * count + 0.5 + 1e-9))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_average(ratio: float) -> None:
    if not (_is_number(ratio) and 0.0 < ratio <= 1.0):
        raise ConfigError(f"average keep ratio is {ratio!r}; expected 0 < ratio <= 1")


def _ratios(name: str, given: object, legal: Legal) -> Ratios:
    values = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    for value in values:
        if not (_is_number(value) and legal.holds(float(value))):
            raise ConfigError(f"schedule: {name} has {legal.what} {value!r}; expected {legal.rule}")
    if not values:
        raise ConfigError(f"schedule: {name} is an empty list; expected one ratio per layer, or one for all")
    numbers = tuple(float(value) for value in values)
    return numbers if isinstance(given, Sequence) else numbers[0]


def _per_layer(schedule: Schedule, name: str, layers: int) -> tuple[float, ...]:
    ratios = getattr(schedule, name)
    if isinstance(ratios, float):
        return (ratios,) * layers
    if len(ratios) != layers:
        raise ConfigError(
            f"schedule {schedule.name!r}: {name} has {len(ratios)} ratios and the model {layers} layers; "
            "expected one ratio per layer"
        )
    return tuple(ratios)


def _quantization(given: object) -> Quantization:
    if isinstance(given, Quantization):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError(f"schedule: quantization is {given!r}; expected a table of fields")
    values = dict(given)
    known = {f.name for f in fields(Quantization)}
    if set(values) - known:
        raise ConfigError(
            f"quantization has unknown entries {sorted(set(values) - known)}; "
            f"expected some of {sorted(known)}"
        )
    for name, kind in (("k_policy", KeyPolicy), ("v_policy", ValuePolicy)):
        if name in values:
            values[name] = _policy(name, kind, values[name])
    return Quantization(**values)


def _policy(name: str, kind: type[KeyPolicy] | type[ValuePolicy], given: object) -> KeyPolicy | ValuePolicy:
    """By name, as a file has it, or by number, as :meth:`Schedule.to_dict` does."""
    found = [policy for policy in kind if given in (policy.name, policy.value)]
    if not found:
        raise ConfigError(f"quantization.{name} is {given!r}; expected one of {list(kind.__members__)}")
    return found[0]
