# SPDX-License-Identifier: BSD-2-Clause
"""A bench around one Migen module: tokens in, tokens out, with random gaps on every stream.

Every source is watched: a token that was offered must stay, unchanged, until it is taken.
"""

from __future__ import annotations

import ctypes
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
from litex.gen.fhdl.verilog import convert
from litex.soc.interconnect.stream import Endpoint
from migen import ClockDomain, Module, Signal
from migen.fhdl.structure import _Fragment
from migen.fhdl.tools import list_targets
from numpy.typing import NDArray

from spatten_drivers.errors import SpattenError

from .collisions import spoil_collisions
from .verilator import library

Token = Mapping[str, int]
ALWAYS = (1 << 32) - 1


class SimulationError(SpattenError):
    """A stream broke its rules, or a run did not end in its cycles."""


@dataclass
class Run:
    """What a run gave.

    Attributes
    ----------
    tokens : per source, its tokens in order: one dictionary of unsigned integers each.
    cycles : per stream, sinks included, the cycle of each handshake; the run starts at 0.
    beats : of device memory, read and written.
    faults : accesses outside of device memory; they read as ones and write nothing.
    """

    tokens: dict[str, list[dict[str, int]]]
    cycles: dict[str, list[int]]
    beats: int = 0
    faults: int = 0


class MemoryStreams(NamedTuple):
    """Names of the streams of a memory port: commands and writes leave the module, data enters it."""

    command: str
    data: str
    write: str


class _Memory(ctypes.Structure):
    _fields_ = (
        ("bytes", ctypes.POINTER(ctypes.c_uint8)),
        ("beats", ctypes.c_uint64),
        ("command", ctypes.c_int32),
        ("data", ctypes.c_int32),
        ("write", ctypes.c_int32),
        ("beat_bytes", ctypes.c_int32),
        ("latency", ctypes.c_int32),
        ("reads", ctypes.c_int64),
        ("writes", ctypes.c_int64),
        ("faults", ctypes.c_int64),
    )


class _Stream(ctypes.Structure):
    _fields_ = (
        ("tokens", ctypes.POINTER(ctypes.c_uint64)),
        ("cycles", ctypes.POINTER(ctypes.c_int64)),
        ("count", ctypes.c_int64),
        ("done", ctypes.c_int64),
        ("room", ctypes.c_int64),
        ("share", ctypes.c_uint32),
        ("held", ctypes.c_uint32),
    )


class _Room(NamedTuple):
    """Memory behind a stream: its tokens, and the cycle of each handshake."""

    tokens: ctypes.Array[ctypes.c_uint64]
    cycles: ctypes.Array[ctypes.c_int64]


@dataclass(frozen=True)
class _Field:
    """A signal of a stream, at ``offset`` in the 64-bit words of its token."""

    name: str
    signal: Signal
    offset: int

    @property
    def words(self) -> int:
        return -(-len(self.signal) // 64)


class Bench:
    """A verilated module.

    Parameters
    ----------
    dut : the module; its clock domain is ``sys``.
    sinks, sources : its streams by a name of your choice.
    inputs, outputs : its plain signals, likewise. Inputs may change between runs.
    memory : names of the streams that device memory stands behind; they take no tokens and expect none.
    randomise : memories, and whatever else has no value to start with, start with random bits.
    initial : registers start with the values that a bitstream gives them. ``False``: with random bits, as in
        a device that has none; only the reset counts then.
    seed : of the random bits.
    verilog : text of modules that ``dut`` holds as instances.
    coverage : count what runs and what toggles, see :meth:`write_coverage`.
    rewrite : changes the elaborated module before it becomes Verilog.
    mapped : makes of its Verilog what is simulated in its stead, with the same ports:
        :func:`spatten_fpga.synth.gates.gates`.

    Attributes
    ----------
    verilog : the text that was compiled.
    names : the name in it of a signal or memory.
    """

    def __init__(
        self,
        dut: Module,
        sinks: Mapping[str, Endpoint],
        sources: Mapping[str, Endpoint],
        inputs: Mapping[str, Signal] | None = None,
        outputs: Mapping[str, Signal] | None = None,
        *,
        memory: MemoryStreams | None = None,
        randomise: bool = True,
        initial: bool = True,
        seed: int = 1,
        verilog: str = "",
        coverage: bool = False,
        rewrite: Callable[[_Fragment], _Fragment] | None = None,
        mapped: Callable[[str], str] = spoil_collisions,
    ) -> None:
        self._memory = memory
        self._rewrite = rewrite
        self._streams = {**sinks, **sources}
        self._sinks = list(sinks)
        self._sources = list(sources)
        self._inputs = dict(inputs or {})
        self._signals = {**self._inputs, **(outputs or {})}
        self._names = list(self._signals)
        self._fields = {name: _fields(endpoint) for name, endpoint in self._streams.items()}
        self._words = {name: sum(f.words for f in fields) or 1 for name, fields in self._fields.items()}
        flags = ["--x-initial", "unique", "--x-assign", "unique"] if randomise else []
        text, harness = self._sources_of(dut, initial)
        self.verilog = mapped(text) + verilog
        if coverage:
            flags += ["--coverage-line", "--coverage-toggle"]
            harness += resources.files(__package__).joinpath("coverage.cpp").read_text("utf-8")
        self._lib = ctypes.CDLL(str(library(self.verilog, harness, "dut", flags)))
        self._lib.sim_new.restype = ctypes.c_void_p
        self._lib.sim_cycle.restype = ctypes.c_int64
        self._lib.sim_free.restype = None
        self._randomise = randomise
        self._handle: ctypes.c_void_p | None = None
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Begin anew with other random bits, then reset."""
        if self._handle is not None:
            self._lib.sim_free(self._handle)
        self._handle = ctypes.c_void_p(self._lib.sim_new(ctypes.c_uint32(seed), 2 if self._randomise else 0))
        self.reset()

    def reset(self, **inputs: int) -> None:
        """Hold the reset for a few cycles; inputs are 0 or as given from then on, and nothing is on offer."""
        for name in self._inputs:
            self.set(name, inputs.get(name, 0))
        self._lib.sim_reset(self._handle, 3)
        self._held: dict[str, bool] = {}

    def set(self, name: str, value: int) -> None:
        """Drive an input, negative numbers in two's complement."""
        width = len(self._signals[name])
        words = _split(value & ((1 << width) - 1), -(-width // 64))
        self._lib.sim_set(self._handle, self._names.index(name), (ctypes.c_uint64 * len(words))(*words))

    def get(self, name: str) -> int:
        """Read an input or output, unsigned."""
        words = (ctypes.c_uint64 * -(-len(self._signals[name]) // 64))()
        self._lib.sim_get(self._handle, self._names.index(name), words)
        return _join(words)

    def tick(self, cycles: int = 1) -> None:
        """Let time pass without any handshake of a sink; sources keep the ready they had."""
        self._lib.sim_tick(self._handle, ctypes.c_int64(cycles))

    def write_coverage(self, path: Path) -> None:
        """Write Verilator's coverage data; the bench was built with ``coverage``."""
        self._lib.sim_coverage(self._handle, str(path).encode())

    def run(
        self,
        tokens: Mapping[str, Sequence[Token]],
        expect: Mapping[str, int],
        *,
        offer: float | Mapping[str, float] = 1.0,
        take: float | Mapping[str, float] = 1.0,
        memory: NDArray[np.uint8] | None = None,
        latency: int = 20,
        limit: int = 100_000,
        seed: int = 0,
        after: int = 16,
        record: Mapping[str, int] | None = None,
    ) -> Run:
        """Offer ``tokens`` and take what comes until every source gave as many as expected.

        Parameters
        ----------
        tokens : per sink, tokens as dictionaries; what a token does not name is 0. A negative number is
            given in two's complement.
        expect : per source, how many tokens must come.
        offer, take : chance of a sink's token being offered, of a source being ready, each cycle.
        memory : device memory, changed in place; ``offer`` and ``take`` of its streams are its pace.
        latency : cycles from a read to its data, at least.
        limit : cycles after which the run has failed.
        seed : of the gaps.
        after : cycles to go on at the end, to catch tokens that should not be there.
        record : per stream of which any number of tokens may come, how many to keep at most.

        Raises
        ------
        SimulationError : too few or too many tokens, or a source withdrew or changed a token.
        """
        record = record or {}
        streams, room = self._filled(tokens, expect, offer, take, record)
        start = self._lib.sim_cycle(self._handle)
        behind = self._memory_struct(memory, latency)
        code = self._lib.sim_run(
            self._handle,
            streams,
            behind and ctypes.byref(behind),
            ctypes.c_int64(limit),
            ctypes.c_uint64(seed),
            ctypes.c_int64(after),
        )
        done = {name: stream.done for name, stream in zip(self._streams, streams, strict=True)}
        counts = {name: stream.count for name, stream in zip(self._streams, streams, strict=True)}
        self._check(code, done, counts | {name: done[name] for name in record})
        kept = done | {name: min(done[name], most) for name, most in record.items()}
        return Run(
            {name: self._unpacked(name, room[name].tokens, kept[name]) for name in self._sources},
            {name: [cycle - start for cycle in room[name].cycles[: kept[name]]] for name in self._streams},
            behind.reads + behind.writes if behind else 0,
            behind.faults if behind else 0,
        )

    def _filled(
        self,
        tokens: Mapping[str, Sequence[Token]],
        expect: Mapping[str, int],
        offer: float | Mapping[str, float],
        take: float | Mapping[str, float],
        record: Mapping[str, int],
    ) -> tuple[ctypes.Array[_Stream], dict[str, _Room]]:
        """What the simulator reads of each stream, and the memory behind it, to be kept until it has run."""
        streams = (_Stream * len(self._streams))()
        rooms = {}
        for place, name in enumerate(self._streams):
            given, sinks = tokens.get(name, ()), name in self._sinks
            most = record.get(name, len(given) if sinks else expect.get(name, 0) + 64)
            share = offer if sinks else take
            chance = share if isinstance(share, int | float) else share.get(name, 1.0)
            rooms[name] = room = _Room(
                (ctypes.c_uint64 * max(1, most * self._words[name]))(), (ctypes.c_int64 * max(1, most))()
            )
            if sinks:
                room.tokens[: len(given) * self._words[name]] = self._packed(name, given)
            streams[place] = _Stream(
                ctypes.cast(room.tokens, ctypes.POINTER(ctypes.c_uint64)),
                ctypes.cast(room.cycles, ctypes.POINTER(ctypes.c_int64)),
                len(given) if sinks else expect.get(name, 0),
                0,
                most,
                int(chance * ALWAYS),
                0,
            )
        return streams, rooms

    def _memory_struct(self, memory: NDArray[np.uint8] | None, latency: int) -> _Memory | None:
        if memory is None or self._memory is None:
            return None
        names = list(self._streams)
        beat = len(self._streams[self._memory.data].payload.raw_bits()) // 8
        return _Memory(
            memory.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)),
            memory.size // beat,
            *(names.index(name) for name in self._memory),
            beat,
            latency,
            0,
            0,
            0,
        )

    def _check(self, code: int, done: Mapping[str, int], wanted: Mapping[str, int]) -> None:
        if code >= 2:
            name = list(self._streams)[code - 2]
            raise SimulationError(f"stream {name} withdrew or changed token {done[name]} before it was taken")
        counts = ", ".join(f"{name} {done[name]} of {wanted[name]}" for name in self._streams)
        if code == 1:
            raise SimulationError(f"the run did not end within its cycles; handshakes: {counts}")
        if any(done[name] != wanted[name] for name in self._streams if name not in (self._memory or ())):
            raise SimulationError(f"more tokens than expected came; handshakes: {counts}")

    def _packed(self, name: str, tokens: Sequence[Token]) -> list[int]:
        words: list[int] = []
        known = {field.name for field in self._fields[name]}
        for token in tokens:
            if not token.keys() <= known:
                raise SimulationError(
                    f"stream {name} has no {sorted(token.keys() - known)}; it has {sorted(known)}"
                )
            for field in self._fields[name]:
                value = token.get(field.name, 0) & ((1 << len(field.signal)) - 1)
                words += _split(value, field.words)
        return words if self._fields[name] else [0] * len(tokens)

    def _unpacked(self, name: str, memory: Sequence[int], count: int) -> list[dict[str, int]]:
        size, fields = self._words[name], self._fields[name]
        flat = list(memory[: count * size])
        rows = (flat[i * size : (i + 1) * size] for i in range(count))
        return [{f.name: _join(row[f.offset : f.offset + f.words]) for f in fields} for row in rows]

    def _sources_of(self, dut: Module, initial: bool) -> tuple[str, str]:
        """Verilog of the module and the C++ around it."""
        top = Module()
        top.clock_domains.cd_sys = domain = ClockDomain("sys")
        top.submodules.dut = dut
        ios: set[Signal] = {domain.clk, domain.rst}
        domain.clk.backtrace[-1] = (domain.clk.backtrace[-1][0], None)
        named: dict[Signal, str] = {}
        for name, endpoint in self._streams.items():
            named |= {endpoint.valid: f"{name}_valid", endpoint.ready: f"{name}_ready"}
            named |= {field.signal: f"{name}_{field.name}" for field in self._fields[name]}
        named |= {signal: f"io_{name}" for name, signal in self._signals.items()}
        for signal, name in named.items():
            signal.name_override = name
        ios |= set(named)
        domain.clk.name_override, domain.rst.name_override = "sys_clk", "sys_rst"
        fragment = top.get_fragment()
        if self._rewrite:
            fragment = self._rewrite(fragment)
        registers = set() if initial else list_targets(fragment.sync)
        output = convert(fragment, ios, name="dut")
        self.names = output.ns.get_name
        text = _without_initial(str(output), {self.names(register) for register in registers})
        verilog = "\n".join(line for line in text.splitlines() if not line.startswith("//"))
        template = resources.files(__package__).joinpath("harness.cpp").read_text("utf-8")
        return verilog, template.replace("@TOP@", "dut").replace("@PORTS@", self._ports())

    def _ports(self) -> str:
        """C++ that reads and writes the ports by number of stream or signal."""
        names = list(self._streams)

        def cases(lines: Sequence[str]) -> str:
            return "\n".join(f"        case {place}: {line} break;" for place, line in enumerate(lines))

        put = [
            " ".join(f"store(top.{n}_{f.name}, t + {f.offset});" for f in self._fields[n])
            if n in self._sinks
            else ""
            for n in names
        ]
        take = [" ".join(f"load(top.{n}_{f.name}, t + {f.offset});" for f in self._fields[n]) for n in names]
        sinks = [f"top.{n}_valid = on;" if n in self._sinks else "" for n in names]
        sources = [f"top.{n}_ready = on;" if n in self._sources else "" for n in names]
        signals = [f"store(top.io_{n}, t);" if n in self._inputs else "" for n in self._names]
        reads = [f"load(top.io_{n}, t);" for n in self._names]
        words = [self._words[n] for n in names]
        return f"""
constexpr int STREAMS = {len(names)};
constexpr int MAX_WORDS = {max([1, *words])};
const int WORDS[] = {{{", ".join(map(str, words or [1]))}}};
const bool IS_SINK[] = {{{", ".join(str(int(n in self._sinks)) for n in names) or "0"}}};
void set_token(Top &top, int s, const uint64_t *t) {{
    switch (s) {{\n{cases(put)}\n    }} }}
void get_token(Top &top, int s, uint64_t *t) {{
    switch (s) {{\n{cases(take)}\n    }} }}
void set_valid(Top &top, int s, bool on) {{ switch (s) {{\n{cases(sinks)}\n    }} }}
void set_ready(Top &top, int s, bool on) {{ switch (s) {{\n{cases(sources)}\n    }} }}
bool get_valid(Top &top, int s) {{
    bool on = false; switch (s) {{\n{cases([f"on = top.{n}_valid;" for n in names])}\n    }} return on; }}
{self._memory_ports()}
bool get_ready(Top &top, int s) {{
    bool on = false; switch (s) {{\n{cases([f"on = top.{n}_ready;" for n in names])}\n    }} return on; }}
void set_signal(Top &top, int s, const uint64_t *t) {{ switch (s) {{\n{cases(signals)}\n    }} }}
void get_signal(Top &top, int s, uint64_t *t) {{ switch (s) {{\n{cases(reads)}\n    }} }}
"""

    def _memory_ports(self) -> str:
        """C++ that moves beats and addresses of the memory streams."""
        if self._memory is None:
            return """void set_beat(Top &, const uint64_t *) {}
uint64_t get_command_address(Top &) { return 0; }
uint64_t get_write_address(Top &) { return 0; }
void get_write_data(Top &, uint64_t *) {}"""
        command, data, write = self._memory
        return f"""void set_beat(Top &top, const uint64_t *t) {{ store(top.{data}_data, t); }}
uint64_t get_command_address(Top &top) {{ return top.{command}_address; }}
uint64_t get_write_address(Top &top) {{ return top.{write}_address; }}
void get_write_data(Top &top, uint64_t *t) {{ load(top.{write}_data, t); }}"""


def signed(value: int, width: int) -> int:
    """An unsigned reading as two's complement of ``width`` bits."""
    return value - (1 << width) if value >> (width - 1) else value


def gaps(seed: int) -> float:
    """A chance for ``offer`` or ``take``: often 1, else anything down to a quarter."""
    draws = random.Random(seed)
    return 1.0 if draws.random() < 0.3 else draws.uniform(0.25, 1.0)


def _fields(endpoint: Endpoint) -> list[_Field]:
    """Signals of a token: first, last, payload and param, each at its place."""
    found: list[_Field] = []
    offset = 0
    parts = [("first", endpoint.first), ("last", endpoint.last)]
    for record, layout in (
        (endpoint.payload, endpoint.description.payload_layout),
        (endpoint.param, endpoint.description.param_layout),
    ):
        parts += [(item[0], getattr(record, item[0])) for item in layout]
    for name, signal in parts:
        found.append(_Field(name, signal, offset))
        offset += found[-1].words
    return found


def _without_initial(verilog: str, registers: set[str]) -> str:
    """The text without the values that these registers are declared with."""
    return re.sub(
        r"^(\s*(?:output\s+)?reg\b.*?(\w+)) = [^;,]+",
        lambda found: found[1] if found[2] in registers else found[0],
        verilog,
        flags=re.MULTILINE,
    )


def _split(value: int, words: int) -> list[int]:
    return [value >> 64 * place & (1 << 64) - 1 for place in range(words)]


def _join(words: Sequence[int]) -> int:
    return sum(int(word) << 64 * place for place, word in enumerate(words))
