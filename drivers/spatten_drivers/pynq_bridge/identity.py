# SPDX-License-Identifier: BSD-2-Clause
"""Whether a device is still the one that was opened, and the one a bitstream was built for."""

from __future__ import annotations

import json
from pathlib import Path

from ..config import AcceleratorConfig
from ..devices.base import Device
from ..errors import ConfigError, DeviceMismatchError
from ..registers import IDENTITY_MAGIC, REGISTERS, identity_values

MANIFEST = "manifest.json"


def check_identity(device: Device) -> None:
    """Read the identity registers again.

    Raises
    ------
    DeviceMismatchError : they differ from what the device was opened as; names each field with both values.
    """
    opened = {"IDENTITY": IDENTITY_MAGIC, **identity_values(device.config, device.memory_bytes)}
    reads: dict[str, int] = {}
    for word in REGISTERS:
        if any(field.name in opened for field in word.fields):
            reads |= device.read_fields(word.name)
    differing = [
        f"{name} reads {reads[name]:#x}, was opened as {value:#x}"
        for name, value in opened.items()
        if reads[name] != value
    ]
    if differing:
        raise DeviceMismatchError(
            f"{device.name} is not the device that was opened: {'; '.join(differing)}. Open it again after "
            "another bitstream was loaded"
        )


def check_bitstream(path: Path, device: Device) -> None:
    """Compare the configuration in the manifest beside a bitstream, if there is one, with the device's.

    Raises
    ------
    DeviceMismatchError : they differ, or the manifest cannot be read; names what differs with both values.
    """
    manifest = path.with_name(MANIFEST)
    if not manifest.is_file():
        return
    try:
        record = json.loads(manifest.read_text("utf-8"))
        built = AcceleratorConfig.from_dict(record["config"], record["abi"])
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise DeviceMismatchError(
            f"{manifest}: no manifest of a SpAtten bitstream: {type(error).__name__} {error}. Give a "
            "bitstream with the manifest.json that was written with it"
        ) from error
    differing = [
        f"{name} is {theirs} in the bitstream and {ours} on the device"
        for name, (theirs, ours) in built.differences(device.config).items()
    ]
    if differing:
        raise DeviceMismatchError(
            f"{path.name} (config {built.digest:016x}) is not for {device}: {'; '.join(differing)}. Attach a "
            "device of the bitstream's configuration"
        )
