# SPDX-License-Identifier: BSD-2-Clause
"""What to generate: read from YAML, and refused with field, value and rule if it is not what it must be."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from spatten_drivers import PRESETS, AcceleratorConfig
from spatten_drivers.errors import ConfigError
from spatten_drivers.sizes import bytes_of

from .bus import BUSES


@dataclass(frozen=True)
class Options:
    """One core to generate.

    Parameters
    ----------
    config : what the core is built for.
    memory : size of device memory, such as ``512MiB``.
    name : of the Verilog module and its file.
    bus : what the registers stand behind, one of ``BUSES``.

    Raises
    ------
    ConfigError : a field is not what it must be; the message names field, value and rule.
    """

    config: AcceleratorConfig
    memory: str = "512MiB"
    name: str = "spatten_core"
    bus: str = "wishbone"

    def __post_init__(self) -> None:
        legal_name = isinstance(self.name, str) and re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", self.name)
        _require("name", self.name, legal_name, "a Verilog name: letters, digits and _, no digit first")
        _require("bus", self.bus, self.bus in BUSES, f"one of {', '.join(BUSES)}")
        bytes_of(self.memory)

    @property
    def memory_bytes(self) -> int:
        """Size of device memory, in bytes."""
        return bytes_of(self.memory)

    @classmethod
    def from_record(cls, record: object) -> Options:
        """Options from a mapping as YAML gives it; a field left out keeps its default."""
        given = _known("the file", record, [field.name for field in fields(cls)])
        settings = _known("config", given.get("config", {}), AcceleratorConfig().to_dict())
        return cls(**{**given, "config": AcceleratorConfig(**settings)})


def load_options(path: Path) -> Options:
    """Options from a YAML file.

    Raises
    ------
    ConfigError : the file cannot be read, is not YAML, or says something that is not legal.
    """
    try:
        record = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text in UTF-8"
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    try:
        return Options.from_record(record)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def preset_path(name: str) -> Path:
    """The commented YAML of a preset.

    Raises
    ------
    ConfigError : there is no such preset.
    """
    _require("preset", name, name in PRESETS, f"one of {', '.join(PRESETS)}")
    return Path(str(resources.files(__package__).joinpath("presets", f"{name}.yml")))


def load_preset(name: str) -> Options:
    """Options of a preset, from its YAML."""
    return load_options(preset_path(name))


def _known(place: str, record: object, names: Collection[str]) -> Mapping[str, Any]:
    if not isinstance(record, dict):
        raise ConfigError(f"{place} is {record!r}; expected fields with values: {', '.join(names)}")
    if unknown := [name for name in record if name not in names]:
        raise ConfigError(f"{place} has a field {unknown[0]!r}; expected {', '.join(names)}")
    return record


def _require(name: str, value: object, legal: object, rule: str) -> None:
    if not legal:
        raise ConfigError(f"{name} is {value!r}; expected {rule}")
