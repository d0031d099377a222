# SPDX-License-Identifier: BSD-2-Clause
"""A unit with what its surroundings may do and what it must do, as Verilog with assumptions and assertions.

Migen knows neither; so a proof collects one-bit signals, and the text around the unit asserts them.
"""

from __future__ import annotations

from collections.abc import Iterable

from litex.gen.fhdl.verilog import convert
from litex.soc.interconnect.stream import Endpoint
from migen import ClockDomain, Constant, Module, Signal
from migen.fhdl.tools import list_signals

from .rules import StreamRule, fields_of
from .sabotage import Saboteur

UNIT, TOP = "unit", "formal"


class Proof(Module):
    """A unit under proof.

    Registers and memories start with anything; the reset holds in the first cycle and never again.

    Parameters
    ----------
    unit : the module; its clock domain is ``sys``.
    broken : ``"source:kind"`` puts a :class:`.sabotage.Saboteur` behind that source, so that a rule fails.

    Attributes
    ----------
    properties : what must hold in every cycle after the reset, by name.
    sources : names of the sources that are watched, with the fields a saboteur can corrupt.
    """

    def __init__(self, unit: Module, broken: str | None = None) -> None:
        self.submodules.unit = unit
        self.properties: dict[str, Signal] = {}
        self.sources: dict[str, list[str]] = {}
        self._broken = broken
        self._assumptions: dict[str, Signal] = {}
        self._inputs: dict[str, Signal] = {}
        self._constants: dict[str, Signal] = {}

    # Surroundings ------------------------------------------------------------------------------------

    def input(self, name: str, signal: Signal) -> Signal:
        """A signal that may have any value in any cycle."""
        self._inputs[name] = signal
        return signal

    def constant(self, name: str, signal: Signal) -> Signal:
        """A signal that may have any value, the same one in all cycles."""
        self._constants[name] = signal
        return signal

    def assume(self, name: str, condition) -> None:
        """What the surroundings keep to."""
        self._assumptions[name] = self._named(condition)

    def sink(self, name: str, endpoint: Endpoint, fields: Iterable[str] | None = None) -> Endpoint:
        """Tokens of any kind at any time, as long as they stay until they are taken.

        ``fields`` are those that are free; the others are 0.
        """
        free = fields_of(endpoint, fields)
        self.input(f"{name}_valid", endpoint.valid)
        for field, signal in free.items():
            self.input(f"{name}_{field}", signal)
        rule = StreamRule(endpoint, free)
        setattr(self.submodules, f"{name}_rule", rule)
        self.assume(f"{name}_stays", rule.ok)
        return endpoint

    def source(self, name: str, endpoint: Endpoint, fields: Iterable[str] | None = None) -> Endpoint:
        """Tokens are taken at any time, and must stay until then. Gives the stream as others see it."""
        known = fields_of(endpoint, fields)
        self.sources[name] = list(known)
        seen = endpoint
        if self._broken is not None and self._broken.partition(":")[0] == name:
            saboteur = Saboteur(endpoint, known, self._broken.partition(":")[2])
            self.submodules += saboteur
            seen = saboteur.source
            self.input("sabotage", saboteur.now)
        self.input(f"{name}_ready", seen.ready)
        rule = StreamRule(seen, fields_of(seen, known))
        setattr(self.submodules, f"{name}_rule", rule)
        self.check(f"{name}_stays", rule.ok)
        return seen

    # Duties ------------------------------------------------------------------------------------------

    def check(self, name: str, condition) -> None:
        """What must hold in every cycle."""
        self.properties[name] = self._named(condition)

    def add(self, name: str, rule: Module) -> None:
        """A rule of :mod:`.rules`: its free signals are inputs, its conditions are checked."""
        setattr(self.submodules, name, rule)
        for place, signal in enumerate(rule.free):
            self.input(f"{name}_free{place}", signal)
        for what, condition in rule.conditions.items():
            self.check(f"{name}_{what}" if what else name, condition)

    def past(self, signal) -> Signal:
        """The signal a cycle before; 0 in the first."""
        before = Signal(len(signal))
        self.sync += before.eq(signal)
        return before

    @staticmethod
    def number(value: int, bits: int) -> Constant:
        """A number of so many bits."""
        return Constant(value, bits)

    def _named(self, condition) -> Signal:
        signal = Signal()
        self.comb += signal.eq(condition)
        return signal

    # Text --------------------------------------------------------------------------------------------

    def verilog(self) -> tuple[str, str]:
        """The unit, and the module around it that assumes and asserts."""
        domain = self.clock_domains.cd_sys = ClockDomain("sys")
        groups = {
            "i": self._inputs,
            "c": self._constants,
            "a": self._assumptions,
            "p": self.properties,
        }
        ports = {f"{kind}_{name}": signal for kind, group in groups.items() for name, signal in group.items()}
        for name, signal in {**ports, "clk": domain.clk, "rst": domain.rst}.items():
            signal.name_override = name
        fragment = self.get_fragment()
        inner = sorted(list_signals(fragment), key=lambda signal: signal.duid)
        for number, signal in enumerate(inner):  # Migen finds no legal name for some
            if signal.name_override is None:
                name = signal.backtrace[-1][0] if signal.backtrace else None
                legal = name and name.isidentifier()
                signal.name_override = f"{name if legal else 'signal'}_{number}"
        unit = str(convert(fragment, {domain.clk, domain.rst, *ports.values()}, name=UNIT))
        return unit, self._around(ports)

    def _around(self, ports: dict[str, Signal]) -> str:
        inputs = ",\n".join(f"    input [{len(s) - 1}:0] i_{name}" for name, s in self._inputs.items())
        constants = [f"(* anyconst *) reg [{len(s) - 1}:0] c_{name};" for name, s in self._constants.items()]
        wires = [
            f"wire {kind}_{name};"
            for kind, group in (("a", self._assumptions), ("p", self.properties))
            for name in group
        ]
        body = [f"assume ({'a_' + name});" for name in self._assumptions]
        body += [f"{name}: assert ({'p_' + name});" for name in self.properties]
        lines = "\n".join
        return f"""module {TOP} (
    input clk{"," if inputs else ""}
{inputs}
);
    reg started = 0;
    always @(posedge clk) started <= 1;
    {lines(constants)}
    {lines(wires)}
    {UNIT} unit (.clk(clk), .rst(!started), {", ".join(f".{name}({name})" for name in ports)});
    always @* if (started) begin
        {lines(body)}
    end
endmodule
"""
