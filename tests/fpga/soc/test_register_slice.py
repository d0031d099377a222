# SPDX-License-Identifier: BSD-2-Clause
"""A master behind registers: each access is done once, and an answer that nobody waits for is lost."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from litex.soc.interconnect import wishbone
from migen.sim import passive, run_simulation

from spatten_fpga.soc.register_slice import RegisterSlice

Process = Generator[Any, Any, Any]


@passive
def memory(bus: wishbone.Interface, delay: int, seen: list[tuple[int, int]], fail: bool = False) -> Process:
    """Answer every access after so many cycles: a read of ``a`` with ``a + 1``, or all by errors."""
    waited = 0
    while True:
        asked = (yield bus.cyc) and (yield bus.stb)
        waited = waited + 1 if asked else 0
        if waited > delay:
            address, is_write = (yield bus.adr), (yield bus.we)
            seen.append((address, (yield bus.dat_w) if is_write else -1))
            yield (bus.err if fail else bus.ack).eq(1)
            yield bus.dat_r.eq(address + 1)
            yield  # the answer may come as the access has just been given up
            yield bus.ack.eq(0)
            yield bus.err.eq(0)
            waited = 0
            yield
        yield


def access(bus: wishbone.Interface, address: int, limit: int, write: int | None = None) -> Process:
    """One access, given up after so many cycles; ``(how it ended, word read)``."""
    yield bus.adr.eq(address)
    yield bus.we.eq(write is not None)
    yield bus.dat_w.eq(write or 0)
    yield bus.cyc.eq(1)
    yield bus.stb.eq(1)
    ended, word = "given up", 0
    for _ in range(limit):
        yield
        if (yield bus.ack) or (yield bus.err):
            ended, word = "ack" if (yield bus.ack) else "err", (yield bus.dat_r)
            break
    yield bus.cyc.eq(0)
    yield bus.stb.eq(0)
    yield
    return ended, word


@pytest.mark.parametrize("delay", [0, 1, 5])
def test_every_access_is_done_once_and_answered(delay: int) -> None:
    master, seen, got = wishbone.Interface(), [], []
    dut = RegisterSlice(master)

    def stimulus() -> Process:
        for address in range(8):
            outcome = yield from access(master, address, 40, 100 + address if address % 2 else None)
            got.append(outcome)

    run_simulation(dut, [stimulus(), memory(dut.bus, delay, seen)])
    assert [ended for ended, _ in got] == ["ack"] * 8
    assert [word for _, word in got][::2] == [1, 3, 5, 7]
    assert seen == [(address, 100 + address if address % 2 else -1) for address in range(8)]


def test_errors_come_back() -> None:
    master = wishbone.Interface()
    dut = RegisterSlice(master)
    got: list[tuple[str, int]] = []

    def stimulus() -> Process:
        got.append((yield from access(master, 3, 40)))

    run_simulation(dut, [stimulus(), memory(dut.bus, 2, [], fail=True)])
    assert [ended for ended, _ in got] == ["err"]


@pytest.mark.parametrize("limit", range(1, 12))
def test_an_answer_that_is_late_never_meets_the_next_access(limit: int) -> None:
    master = wishbone.Interface()
    dut = RegisterSlice(master)
    got: list[tuple[str, int]] = []

    def stimulus() -> Process:
        got.append((yield from access(master, 20, limit)))
        got.append((yield from access(master, 40, 60)))

    run_simulation(dut, [stimulus(), memory(dut.bus, 4, [])])
    assert got[0] in (("given up", 0), ("ack", 21))
    assert got[1] == ("ack", 41)
