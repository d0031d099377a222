# SPDX-License-Identifier: BSD-2-Clause
"""``yosys`` as a command: the library that the pyosys wheel brings, behind the options that sby uses."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

READERS = {".il": "read_rtlil", ".sv": "read_verilog -sv", ".v": "read_verilog", ".ys": "script"}


class _Command(argparse.Action):
    """Scripts and commands run in the order in which they are given, whatever option they come by."""

    def __call__(self, parser, namespace, value, option=None):
        prefix = {"-s": "script ", None: ""}.get(option, "")
        values = value if isinstance(value, list) else [value]
        if option is None:
            values = [f"{READERS[os.path.splitext(name)[1]]} {name}" for name in values]
        namespace.commands += [prefix + text for text in values]


def options() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="yosys")
    parser.set_defaults(commands=[])
    parser.add_argument("-V", "--version", action="store_true")
    parser.add_argument("-q", "--quiet", action="store_true", help="nothing on standard output")
    parser.add_argument("-Q", "-T", "-t", action="store_true", help="no banner, no footer: there are none")
    parser.add_argument("-l", "-L", dest="log", help="file for what is said")
    parser.add_argument("-p", "-s", action=_Command, help="commands, script")
    parser.add_argument("files", nargs="*", action=_Command)
    return parser


def main(arguments: list[str]) -> int:
    """Run the commands; 0 if all of them succeeded."""
    given = options().parse_args(arguments)
    if given.log:
        tee = subprocess.Popen(
            ["tee", given.log], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL if given.quiet else None
        )
        os.dup2(tee.stdin.fileno(), 1)
        tee.stdin.close()
    elif given.quiet:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    from pyosys import libyosys  # after standard output is where it should be

    design = libyosys.yosys_get_design()  # several passes act on the global design, whatever they are given
    code = 0
    try:
        if given.version:
            sys.stdout.write(f"{libyosys.yosys_maybe_version()}\n")
        for command in given.commands:
            libyosys.run_pass(command, design)
    except Exception as error:
        sys.stderr.write(f"{error}\n")
        code = 1
    sys.stdout.flush()
    if given.log:
        os.close(1)
        tee.wait()
    return code


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # the library's own end is a segmentation fault in some versions
