# SPDX-License-Identifier: BSD-2-Clause
"""Schedules in a few numbers that a search can turn, starting from the paper's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import Any

from spatten_drivers import KeyPolicy, Quantization

from ..schedule import FRONT_HEADS, FRONT_TOKENS, Schedule, interpolated

#: From many bytes to few: one plane, or MSB and LSB planes with the threshold of their rows, or of their
#: keys: that for generation alone, as a prompt reads both planes of all keys. Of four bits there are also
#: steps that are a fifth finer and clamp what is louder: few elements are, and all have the finer steps.
FORMATS: dict[str, Quantization] = {
    "12": Quantization.static(12),
    "8+4 below 0.1": Quantization.progressive(8, 4, 0.1),
    "8": Quantization.static(8),
    "6+4 below 0.1": Quantization.progressive(6, 4, 0.1),
    "6": Quantization.static(6),
    "4+4 by key, V 8": Quantization.by_key(4, 4, 1 / 64, 8, growth="saturate"),
    "4+4 by key, V 6": Quantization.by_key(4, 4, 1 / 64, 6, growth="saturate"),
    "4+4 by key, V 4": Quantization.by_key(4, 4, 1 / 64, 4, growth="saturate"),
    "4+4 below 0.1": Quantization.progressive(4, 4, 0.1),
    "4+4 below 0.05": Quantization.progressive(4, 4, 0.05),
    "4": Quantization.static(4),
    "4 clamped": Quantization.static(4, headroom=0.8, growth="saturate"),
}
HEADS = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
VALUES = (1.0, 0.7, 0.5, 0.3, 0.2)
SLOPES = (0.0, 0.25, 0.5, 0.8)
#: Of texts that are read at once: what their tokens start with, the paper's first.
PRIORS = (0.0, 1.0, 3.0)
#: Of generation, as its rows of values come one by one: values are read from this share of the greatest
#: weight on, the newest tokens stay, and importance loses so much at each step.
VALUE_SHARES = (0.0, 0.001, 0.003, 0.01, 0.03)
RECENT = (1, 8, 32, 96)
DECAYS = (1.0, 0.5)
#: Factor on one layer's share of tokens.
TILT = 1.3
#: No average share of tokens below this.
LEAST_TOKENS = 0.05


@dataclass(frozen=True)
class Knobs:
    """A schedule of a model of ``layers`` layers.

    Attributes
    ----------
    tokens, heads : average share kept behind the front, as the paper's rule has it.
    values : share of the values kept per query.
    formats : one of :data:`FORMATS`.
    front : layers at the front that keep all tokens.
    slope : how steeply the share of tokens falls; 0.5 is the paper's.
    prior : importance that tokens start with, by the length of their values; not in generation.
    tilt : factors on the shares of single layers, by layer.
    value_share : values whose weight is below this share of the greatest are not read; generation alone.
    recent, decay : tokens at the end that are never pruned, factor on importance a step; generation alone.
    generates : the prompt is read whole.
    """

    layers: int
    tokens: float = 1.0
    heads: float = 0.9
    values: float = 1.0
    formats: str = "6+4 below 0.1"
    front: int = 1
    slope: float = 0.5
    prior: float = 0.0
    tilt: tuple[tuple[int, float], ...] = ()
    recent: int = 1
    value_share: float = 0.0
    decay: float = 1.0
    generates: bool = False

    @classmethod
    def paper(cls, layers: int, *, generates: bool) -> Knobs:
        """The paper's rule: 15 % of the layers whole, 10 % of the heads pruned, 6+4 bits."""
        return cls(layers, front=min(layers - 1, math.ceil(FRONT_TOKENS * layers)), generates=generates)

    def schedule(self, name: str = "tuned") -> Schedule:
        """The schedule that the knobs stand for."""
        line = interpolated(self.tokens, self.layers, self.front / self.layers, self.slope)
        factors = dict(self.tilt)
        tilted = [min(1.0, share * factors.get(layer, 1.0)) for layer, share in enumerate(line)]
        return Schedule(
            tokens=tuple(round(share, 4) for share in accumulate(tilted, min)),
            heads=tuple(round(h, 4) for h in interpolated(self.heads, self.layers, FRONT_HEADS)),
            values=self.values,
            value_share=self.value_share,
            quantization=FORMATS[self.formats],
            protect_last=self.recent,
            decay=self.decay,
            prior=self.prior if min(tilted) < 1.0 else 0.0,
            prune_prefill=not self.generates,
            name=name,
        )

    def openings(self) -> Iterator[Knobs]:
        """What a search looks at first: in all number formats these knobs, and a gentler kind.

        The gentler one prunes no heads. Of a generation it keeps the newest tokens and leaves out light
        values, as `lean-keys-gpt2` does.
        """
        gentle = replace(self, heads=HEADS[0])
        if self.generates:
            gentle = replace(gentle, recent=96, decay=0.5, value_share=0.003)
        for formats in formats_for(self.generates):
            yield replace(self, formats=formats)
            yield replace(gentle, formats=formats)

    @property
    def shape(self) -> tuple[int, float]:
        """Over which layers the tokens that go are spread: front and slope."""
        return self.front, self.slope

    def shapes(self) -> Iterator[tuple[int, float]]:
        """Others than its own, at most eight.

        What classifies by one token bears a long front and few tokens behind it. Where a mean is read at the
        end, those that live until then should be many: a flat line, or a gentle one, does that.
        """
        fronts = range(1, self.layers, -(-self.layers // 7))
        yield from ((front, self.slope) for front in fronts if front != self.front)
        yield (self.front, 0.0)

    def priors(self) -> Iterator[float]:
        """Others than its own, where texts are read at once."""
        yield from (prior for prior in PRIORS if prior != self.prior and not self.generates)

    def neighbours(self) -> Iterator[tuple[str, Knobs]]:
        """One knob turned by one notch, with what was done; ``tokens`` follows from the budget."""
        steps = (("recent", RECENT), ("decay", DECAYS), ("value_share", VALUE_SHARES))
        for way in (1, -1):
            for field, notches in (
                ("formats", formats_for(self.generates)),
                ("heads", HEADS),
                ("values", VALUES),
                ("slope", SLOPES),
                ("front", tuple(range(1, self.layers))),
                *(steps if self.generates else (("prior", PRIORS),)),
            ):
                turned = _notch(notches, getattr(self, field), way)
                if turned is not None:
                    yield f"{field} {turned}", replace(self, **{field: turned})
        for layer in range(self.front, self.layers):
            for factor in (TILT, 1 / TILT):
                both = dict(self.tilt) | {layer: round(dict(self.tilt).get(layer, 1.0) * factor, 4)}
                more = "more" if factor > 1 else "fewer"
                yield f"layer {layer} {more} tokens", replace(self, tilt=tuple(sorted(both.items())))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


def formats_for(generates: bool) -> tuple[str, ...]:
    """Of :data:`FORMATS`: those that refetch by key for generation, that clamp for what is read at once."""

    def fits(format: Quantization) -> bool:
        return format.headroom >= 1.0 if generates else format.k_policy != KeyPolicy.BY_KEY

    return tuple(name for name, format in FORMATS.items() if fits(format))


def _notch(notches: tuple[Any, ...], value: Any, way: int) -> Any:
    """The neighbour of a value in its list, or ``None`` at the end."""
    place = notches.index(value) + way if value in notches else 0
    return notches[place] if 0 <= place < len(notches) else None
