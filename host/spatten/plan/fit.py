# SPDX-License-Identifier: BSD-2-Clause
"""Does a text fit: what is asked for beside what there is."""

from __future__ import annotations

from dataclasses import dataclass

from spatten_drivers.errors import ConfigError
from spatten_drivers.job import descriptor_bytes
from spatten_drivers.planes import padded, row_bytes

from ..schedule import Schedule
from .boards import Machine
from .shapes import ModelShape


@dataclass(frozen=True)
class Check:
    """One limit.

    Attributes
    ----------
    what : is limited, with its unit.
    asked, limit : what the text needs, and what there is.
    fits : whether it does.
    advice : what to do if not.
    """

    what: str
    asked: str
    limit: str
    fits: bool
    advice: str


def kv_bytes(machine: Machine, shape: ModelShape, schedule: Schedule, slots: int) -> int:
    """Bytes of the K and V planes of a sequence: every layer and head has a row for every slot."""
    rules, beat = schedule.quantization, machine.config.beat_bytes
    widths = (rules.k_msb_bits, rules.k_lsb_bits, rules.v_msb_bits, rules.v_lsb_bits)
    row = sum(row_bytes(shape.head_dim, width, beat) for width in widths)
    return shape.layers * shape.heads * slots * row


def job_bytes(machine: Machine, shape: ModelShape, schedule: Schedule, slots: int, queries: int) -> int:
    """Bytes of the largest job's descriptor, queries, outputs and answer, and of the running importance."""
    beat = machine.config.beat_bytes
    lists = {"n_heads": shape.heads, "n_keys": slots, "n_queries": queries}
    row = row_bytes(shape.head_dim, schedule.quantization.q_bits, beat) + padded(2 * shape.head_dim, beat)
    answer = 256 + padded(2 * slots, beat) + padded(2 * shape.heads, beat)
    importance = padded(4 * slots, 64) + padded(8 * shape.heads, 64)
    return descriptor_bytes(lists, beat) + shape.heads * queries * row + answer + importance


def slots_of(machine: Machine, shape: ModelShape, tokens: int) -> int:
    """Slots that are set apart for a text: a cache that grows takes all that there can be."""
    return max(tokens, min(shape.positions, machine.config.max_sequence)) if shape.causal else tokens


def checks(
    machine: Machine, shape: ModelShape, schedule: Schedule, prompt: int, generate: int
) -> list[Check]:
    """Every limit of device and model that a text meets."""
    config, rules = machine.config, schedule.quantization
    tokens = prompt + generate
    slots = slots_of(machine, shape, tokens)
    needed = kv_bytes(machine, shape, schedule, slots) + job_bytes(machine, shape, schedule, slots, prompt)
    widest = max(rules.k_bits, rules.v_bits)
    dims = ", ".join(map(str, config.head_dims))
    shorter = "give a shorter --prompt or a smaller --generate"
    return [
        Check("positions of the model, tokens", f"{tokens:,}", f"{shape.positions:,}",
              tokens <= shape.positions, shorter),
        Check("sequence, tokens", f"{tokens:,}", f"{config.max_sequence:,}",
              tokens <= config.max_sequence, f"{shorter}, or a --preset with a greater max_sequence"),
        Check("heads of a layer", f"{shape.heads}", f"{config.max_heads}",
              shape.heads <= config.max_heads, "take another model or --preset"),
        Check("head dimension", f"{shape.head_dim}", dims,
              shape.head_dim in config.head_dims, "take another model or --preset"),
        Check("bits of K or V", f"{widest}", f"{config.operand_bits}",
              widest <= config.operand_bits, "take a --schedule with fewer bits"),
        Check("device memory, MiB", f"{needed / 2**20:.2f}", f"{machine.dram.size / 2**20:.0f}",
              needed <= machine.dram.size, f"{shorter}, or a --schedule with fewer bits"),
    ]  # fmt: skip


def require_fit(found: list[Check]) -> None:
    """Raise if a check failed.

    Raises
    ------
    ConfigError : names each limit that is broken, what was asked for and what to do.
    """
    broken = [check for check in found if not check.fits]
    if broken:
        reasons = "; ".join(
            f"{check.what}: {check.asked} asked, expected at most {check.limit}"
            if check.what != "head dimension"
            else f"{check.what}: {check.asked} asked, expected one of {check.limit}"
            for check in broken
        )
        raise ConfigError(f"the plan does not fit: {reasons}. To mend it, {broken[0].advice}")
