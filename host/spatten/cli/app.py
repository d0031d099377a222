# SPDX-License-Identifier: BSD-2-Clause
"""The application: its commands, all of which turn errors into messages and exit codes."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from . import bench, bitstreams, devices, doctor, evaluate, load, plan, replay, run, selftest, trace, tune
from .console import errors_to_exit_codes, versions


class ErrorsToExitCodes(TyperGroup):
    """Turns typed errors into a message on stderr and an exit code; ``--debug`` lets them through."""

    def invoke(self, ctx: Any) -> Any:
        with errors_to_exit_codes(debug=bool(ctx.params.get("debug"))):
            return super().invoke(ctx)


app = typer.Typer(
    cls=ErrorsToExitCodes,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spatten {versions()['spatten']}")
        raise typer.Exit


@app.callback()
def spatten(
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks of errors."),
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """BERT and GPT-2 with attention on a SpAtten accelerator, or on its bit-exact software model.

    Examples:

    - `spatten run --demo --report report.html`
    - `spatten run "A first text." "A second one."`
    - `spatten doctor`
    """


app.command("run")(run.run)
app.command("eval")(evaluate.evaluate)
app.add_typer(bench.app, name="bench")
app.command("replay")(replay.replay)
app.command("tune")(tune.tune)
app.command("trace")(trace.trace)
app.command("plan")(plan.plan)
app.command("devices")(devices.devices)
app.command("doctor")(doctor.doctor)
app.command("bitstreams")(bitstreams.bitstreams)
app.command("load")(load.load)
app.command("selftest")(selftest.selftest)


def main() -> None:
    """Entry point of the command."""
    app()
