# SPDX-License-Identifier: BSD-2-Clause
"""``python3 -m spatten_fpga.gen``: a core in Verilog, its register map and its manifest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from spatten_drivers import PRESETS
from spatten_drivers.errors import SpattenError

from .files import generate, write_files
from .options import load_options, load_preset, preset_path

EXAMPLES = """\
examples:
  python3 -m spatten_fpga.gen --list-presets
  python3 -m spatten_fpga.gen --preset ecp5-85f
  python3 -m spatten_fpga.gen --preset zynq-7020 --output-dir build/pynq-z2
  cp "$(python3 -m spatten_fpga.gen --where ecp5-25f)" mine.yml    # change what you need, then:
  python3 -m spatten_fpga.gen mine.yml --output-dir build/mine

files:
  NAME.v         the core: clock, reset, registers behind Wishbone or AXI4-Lite, device memory
                 behind three plain streams (beats asked for, beats read, beats written), interrupt
  csr.json       addresses of the registers, as LiteX exports them and the driver reads them
  manifest.json  configuration and digest, ABI, registers, every port with width and meaning, checksums

The YAML has the fields name, bus (wishbone or axi-lite), memory (such as 512MiB) and config, which holds
the fields of AcceleratorConfig; what is left out keeps its default. docs/contract.md says what they mean.

exit codes: 0 done, 2 the call, the YAML or the folder is wrong; then nothing was written.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate what the command line asks for; the exit code."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        if given.list_presets:
            sys.stdout.write(_preset_list())
        elif given.where:
            sys.stdout.write(f"{preset_path(given.where)}\n")
        elif bool(given.preset) == bool(given.config):
            parser.error("give a YAML file or --preset NAME, one of them; --help shows examples")
        else:
            _generate(given)
    except SpattenError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m spatten_fpga.gen",
        description="Write a SpAtten core as standalone Verilog, with its register map and manifest.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", nargs="?", type=Path, metavar="CONFIG.yml", help="what to build")
    parser.add_argument("--preset", metavar="NAME", help="build a preset instead of a YAML file")
    parser.add_argument("--list-presets", action="store_true", help="show the presets and stop")
    parser.add_argument("--where", metavar="NAME", help="print the place of a preset's YAML and stop")
    parser.add_argument(
        "-o", "--output-dir", type=Path, default=Path("build/gen"), help="folder of the files (%(default)s)"
    )
    return parser


def _generate(given: argparse.Namespace) -> None:
    options = load_preset(given.preset) if given.preset else load_options(given.config)
    source = f"--preset {given.preset}" if given.preset else given.config.name
    files = generate(options, command=f"python3 -m spatten_fpga.gen {source}")
    config = options.config
    sys.stdout.write(
        f"{options.name}: {config.lanes} lanes, heads of {', '.join(map(str, config.head_dims))}, "
        f"digest {config.digest:016x}\n"
    )
    for place in write_files(files, given.output_dir):
        sys.stdout.write(f"{place}  {place.stat().st_size:,} bytes\n")


def _preset_list() -> str:
    """A line a preset, from its configuration and its YAML."""
    lines = []
    for name in PRESETS:
        options = load_preset(name)
        config = options.config
        lines.append(
            f"{name:10}  {config.lanes:3} + {config.lanes:3} multipliers, heads of "
            f"{', '.join(map(str, config.head_dims)):16}, {config.max_sequence:4} tokens, "
            f"{config.operand_bits} bits, beat {config.beat_bytes:2} B, {options.bus}, {options.memory}"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
