# SPDX-License-Identifier: BSD-2-Clause
"""The configuration: legal ranges, the text of every refusal, and an identity that never moves."""

from dataclasses import replace
from typing import Any

import pytest

from spatten_drivers import DEFAULT_PRESET, PRESETS, AcceleratorConfig
from spatten_drivers.config import config_from_digest
from spatten_drivers.errors import ConfigError


def digests(minor: int) -> dict[str, str]:
    """Of the presets in a version of the contract."""
    return {name: f"{replace(config, abi_minor=minor).digest:016x}" for name, config in PRESETS.items()}


def test_digests_of_the_presets_are_stable() -> None:
    """Bitstreams carry these numbers: whoever changes one orphans every bitstream built before."""
    assert digests(1) == {
        "ecp5-85f": "b134c0fbaf31693d",
        "ecp5-85f-slim": "3b78d0fba65aed36",
        "ecp5-25f": "512ad7252e36ec5e",
        "ecp5-25f-slim": "aa9db5f2f1288173",
        "zynq-7020": "ad91e9179b07dc51",
        "paper": "35fd61e7952d574b",
    }
    assert digests(0) == {
        "ecp5-85f": "983ef5cac90e9d89",
        "ecp5-85f-slim": "8ccabb7ccb2e0516",
        "ecp5-25f": "26923e183ecbf899",
        "ecp5-25f-slim": "2388b096ba76405b",
        "zynq-7020": "fdc8338944a93963",
        "paper": "cbe0cbfbb275bb7c",
    }


def test_canonical_json_of_the_default() -> None:
    assert PRESETS[DEFAULT_PRESET].canonical_json == (
        '{"abi":"1.1","beat_bytes":16,"head_dims":[32,64],"job_queue_depth":16,"kv_buffer_rows":1024,"lanes":64,'
        '"max_heads":16,"max_sequence":1024,"operand_bits":12,"query_buffer_rows":64,"topk_parallelism":16}'
    )


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("lanes", 4, "a power of two from 8 to 1024"),
        ("lanes", 48, "a power of two from 8 to 1024"),
        ("lanes", 2048, "a power of two from 8 to 1024"),
        ("lanes", 64.0, "a power of two from 8 to 1024"),
        ("head_dims", (), "a non-empty subset of (32, 64, 96, 128)"),
        ("head_dims", 64, "a non-empty subset of (32, 64, 96, 128)"),
        ("head_dims", "64", "a non-empty subset of (32, 64, 96, 128)"),
        ("head_dims", ((64,),), "a non-empty subset of (32, 64, 96, 128)"),
        ("head_dims", (64, 80), "a non-empty subset of (32, 64, 96, 128)"),
        ("max_sequence", 15, "16 to 1024"),
        ("max_sequence", 1025, "16 to 1024"),
        ("max_heads", 0, "1 to 16"),
        ("max_heads", 17, "1 to 16"),
        ("max_heads", True, "1 to 16"),
        ("operand_bits", 14, "12 or 16"),
        ("operand_bits", 12.0, "12 or 16"),
        ("kv_buffer_rows", -1, "0 to max_sequence (1024)"),
        ("kv_buffer_rows", 1025, "0 to max_sequence (1024)"),
        ("query_buffer_rows", 0, "1 to 1024"),
        ("query_buffer_rows", 1025, "1 to 1024"),
        ("topk_parallelism", 0, "a power of two from 1 to 64"),
        ("topk_parallelism", 128, "a power of two from 1 to 64"),
        ("job_queue_depth", 0, "1 to 64"),
        ("job_queue_depth", 65, "1 to 64"),
        ("beat_bytes", 2, "a power of two from 4 to 64"),
        ("beat_bytes", 12, "a power of two from 4 to 64"),
        ("beat_bytes", 128, "a power of two from 4 to 64"),
        ("abi_minor", -1, "0 to 1"),
        ("abi_minor", 2, "0 to 1"),
    ],
)
def test_illegal_fields(field: str, value: Any, rule: str) -> None:
    with pytest.raises(ConfigError) as error:
        AcceleratorConfig(**{field: value})
    assert str(error.value) == f"AcceleratorConfig.{field} is {value!r}; expected {rule}"


def test_head_dims_are_sorted_and_single() -> None:
    assert AcceleratorConfig(head_dims=(64, 32, 64)) == AcceleratorConfig()


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_dict_round_trip(config: AcceleratorConfig) -> None:
    assert AcceleratorConfig.from_dict(config.to_dict()) == config
    older = replace(config, abi_minor=0)
    assert AcceleratorConfig.from_dict(older.to_dict(), older.abi) == older


@pytest.mark.parametrize("abi", ["1.2", "2.0", "1", ""])
def test_from_dict_refuses_other_versions(abi: str) -> None:
    with pytest.raises(ConfigError) as error:
        AcceleratorConfig.from_dict(PRESETS["paper"].to_dict(), abi)
    assert str(error.value) == f"abi is {abi!r}; this release speaks 1.0 and 1.1"


def test_from_dict_refuses_other_fields() -> None:
    record = PRESETS["paper"].to_dict()
    del record["lanes"]
    record["lines"] = 512
    with pytest.raises(
        ConfigError, match=r"^configuration record differs in the fields \['lanes', 'lines'\]"
    ):
        AcceleratorConfig.from_dict(record)


def test_differences() -> None:
    small = AcceleratorConfig(lanes=8, max_heads=4)
    assert AcceleratorConfig().differences(small) == {"lanes": (64, 8), "max_heads": (16, 4)}


def test_config_from_digest() -> None:
    older = replace(PRESETS["paper"], abi_minor=0)
    assert config_from_digest(PRESETS["paper"].digest) == PRESETS["paper"]
    assert config_from_digest(older.digest) == older
    assert config_from_digest(0) is None
