# SPDX-License-Identifier: BSD-2-Clause
"""How Q, K and V are quantized: widths, planes, policies and confidence (paper, section III-D)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from .errors import ConfigError
from .job import KeyPolicy, ValuePolicy
from .planes import LSB_WIDTH, MSB_WIDTHS
from .quantize import refetch_limit


@dataclass(frozen=True)
class Quantization:
    """Number formats of one sequence.

    Parameters
    ----------
    q_bits : width of queries, one of 4, 6, 8, 10, 12.
    k_msb_bits, v_msb_bits : width of the MSB planes, of the same choice.
    k_lsb_bits, v_lsb_bits : 4 if an LSB plane is stored, else 0.
    k_policy, v_policy : which planes a row uses (``docs/contract.md``, section 2).
    threshold : a progressive row whose largest probability is below it fetches its LSBs. With ``k_policy``
        ``BY_KEY``: a key whose probability is above it fetches its LSBs; 2^-1 to 2^-16, a power of two.
    headroom : factor on the loudest value of K or V seen when a scale is first chosen; 1 uses the full range.
        Below 1, down to 0.25 and with ``growth="saturate"`` alone, what is louder is clamped for the sake of
        finer steps.
    growth : what happens when a later row of a cache is louder than the scale: ``double`` doubles the scale
        and requantizes the rows stored so far, ``saturate`` clamps the row.

    Raises
    ------
    ConfigError : a field is outside its legal range.
    """

    q_bits: int = 12
    k_msb_bits: int = 12
    k_lsb_bits: int = 0
    v_msb_bits: int = 12
    v_lsb_bits: int = 0
    k_policy: KeyPolicy = KeyPolicy.MSB_ONLY
    v_policy: ValuePolicy = ValuePolicy.MSB_ONLY
    threshold: float = 0.1
    headroom: float = 1.0
    growth: str = "double"

    def __post_init__(self) -> None:
        for name in ("q_bits", "k_msb_bits", "v_msb_bits"):
            self._require(name, getattr(self, name) in MSB_WIDTHS, f"one of {MSB_WIDTHS}")
        for name in ("k_lsb_bits", "v_lsb_bits"):
            self._require(name, getattr(self, name) in (0, LSB_WIDTH), f"0 (no LSB plane) or {LSB_WIDTH}")
        self._require("k_policy", self.k_policy in set(KeyPolicy), f"one of {[*KeyPolicy]}")
        self._require("v_policy", self.v_policy in set(ValuePolicy), f"one of {[*ValuePolicy]}")
        self._require("k_policy", self.k_lsb_bits or not self.k_policy, "MSB_ONLY without an LSB plane")
        self._require("v_policy", self.v_lsb_bits or not self.v_policy, "MSB_ONLY without an LSB plane")
        refetch = self.v_policy != ValuePolicy.ON_REFETCH or self.k_policy == KeyPolicy.PROGRESSIVE
        self._require("v_policy", refetch, "ON_REFETCH only with k_policy PROGRESSIVE")
        for name in ("threshold", "headroom"):
            self._require(name, isinstance(getattr(self, name), int | float), "a number")
        self._require("threshold", 0.0 <= self.threshold <= 1.0, "a probability from 0 (never refetch) to 1")
        by_key = self.k_policy == KeyPolicy.BY_KEY
        share = not by_key or (math.frexp(self.threshold)[0] == 0.5 and 1 <= self.refetch_shift <= 16)
        self._require("threshold", share, "a power of two from 2^-16 to 2^-1 with k_policy BY_KEY")
        self._require("growth", self.growth in ("double", "saturate"), "'double' or 'saturate'")
        least, clamps = (1.0, "") if self.growth == "double" else (0.25, " with growth 'saturate'")
        self._require("headroom", least <= self.headroom <= 16.0, f"a factor from {least:g} to 16{clamps}")

    def _require(self, name: str, legal: object, rule: str) -> None:
        if not legal:
            raise ConfigError(f"Quantization.{name} is {getattr(self, name)!r}; expected {rule}")

    @classmethod
    def static(cls, bits: int, *, headroom: float = 1.0, growth: str = "double") -> Quantization:
        """One plane of ``bits`` bits for Q, K and V: nothing is decided at run time."""
        return cls(q_bits=bits, k_msb_bits=bits, v_msb_bits=bits, headroom=headroom, growth=growth)

    @classmethod
    def progressive(
        cls,
        msb: int = 6,
        lsb: int = LSB_WIDTH,
        threshold: float = 0.1,
        *,
        headroom: float = 1.0,
        growth: str = "double",
    ) -> Quantization:
        """``msb + lsb`` bits in two planes: rows of K start with the MSBs and refetch, V follows its row."""
        return cls(
            q_bits=min(12, msb + lsb),
            k_msb_bits=msb,
            k_lsb_bits=lsb,
            v_msb_bits=msb,
            v_lsb_bits=lsb,
            k_policy=KeyPolicy.PROGRESSIVE,
            v_policy=ValuePolicy.ON_REFETCH,
            threshold=threshold,
            headroom=headroom,
            growth=growth,
        )

    @classmethod
    def by_key(
        cls,
        msb: int = 4,
        lsb: int = LSB_WIDTH,
        threshold: float = 1 / 64,
        v_bits: int = 6,
        *,
        q_bits: int = 12,
        headroom: float = 1.0,
        growth: str = "double",
    ) -> Quantization:
        """K in two planes, V in one; a step of generation reads the second for its likely keys alone.

        ``threshold`` is the probability above which a key is likely, by the first plane.
        """
        return cls(
            q_bits=q_bits,
            k_msb_bits=msb,
            k_lsb_bits=lsb,
            v_msb_bits=v_bits,
            k_policy=KeyPolicy.BY_KEY,
            threshold=threshold,
            headroom=headroom,
            growth=growth,
        )

    @property
    def k_bits(self) -> int:
        """Bits of a whole K integer."""
        return self.k_msb_bits + self.k_lsb_bits

    @property
    def v_bits(self) -> int:
        """Bits of a whole V integer."""
        return self.v_msb_bits + self.v_lsb_bits

    @property
    def refetch_shift(self) -> int:
        """Of ``BY_KEY``: the threshold is 2 to the power of minus this."""
        return 1 - math.frexp(self.threshold)[1]

    @cached_property
    def job_fields(self) -> dict[str, int]:
        """The quantization fields that are the same for every job."""
        names = ("q_bits", "k_msb_bits", "k_lsb_bits", "v_msb_bits", "v_lsb_bits", "v_policy")
        fields = {name: int(getattr(self, name)) for name in names}
        return {**fields, "refetch_limit": refetch_limit(self.threshold)}

    def key_fields(self, n_queries: int) -> dict[str, int]:
        """How a job of so many queries uses K.

        Refetch by key is for a step of generation. The queries of a prompt share the rows they read, so these
        are read whole.
        """
        if self.k_policy != KeyPolicy.BY_KEY:
            return {"k_policy": int(self.k_policy), "refetch_shift": 0}
        if n_queries > 1:
            return {"k_policy": int(KeyPolicy.ALWAYS), "refetch_shift": 0}
        return {"k_policy": int(self.k_policy), "refetch_shift": self.refetch_shift}
