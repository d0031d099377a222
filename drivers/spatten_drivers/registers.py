# SPDX-License-Identifier: BSD-2-Clause
"""The control and status registers: the single source of the gateware's CSRs and the driver's register map.

``index`` orders the registers; their addresses come from the register map generated beside the bitstream.
"""

from __future__ import annotations

from dataclasses import fields

from .config import ABI_MAJOR, ABI_MINOR, HEAD_DIMS, AcceleratorConfig
from .fields import Field, Word, whole

IDENTITY_MAGIC = int.from_bytes(b"SPAT", "little")

REGISTERS: tuple[Word, ...] = (
    whole(
        "IDENTITY", 0, "Reads the letters SPAT; anything else is not a SpAtten core.", IDENTITY_MAGIC, "ro"
    ),
    Word(
        "ABI_VERSION",
        1,
        (
            Field("ABI_MINOR", 0, 16, "Contract minor version; a newer minor accepts older jobs.", ABI_MINOR),
            Field("ABI_MAJOR", 16, 16, "Contract major version; must be equal.", ABI_MAJOR),
        ),
        "Version of docs/contract.md that the device implements.",
        "ro",
    ),
    whole("CONFIG_DIGEST_LO", 2, "Lower 32 bits of the configuration digest.", access="ro"),
    whole("CONFIG_DIGEST_HI", 3, "Upper 32 bits of the configuration digest.", access="ro"),
    Word(
        "CAPABILITY_0",
        4,
        (
            Field("LANES", 0, 16, "Multipliers of each array."),
            Field("TOPK_PARALLELISM", 16, 8, "Elements a cycle of the top-k engine."),
            Field("OPERAND_BITS", 24, 8, "Widest K or V integer, in bits."),
        ),
        "Configuration, so that a mismatch can be named field by field.",
        "ro",
    ),
    Word(
        "CAPABILITY_1",
        5,
        (
            Field("MAX_SEQUENCE", 0, 16, "Most slots of a sequence."),
            Field("KV_BUFFER_ROWS", 16, 16, "K rows, and V rows, reused on chip."),
        ),
        "Configuration, continued.",
        "ro",
    ),
    Word(
        "CAPABILITY_2",
        6,
        (
            Field("MAX_HEADS", 0, 8, "Most heads of a layer."),
            Field("BEAT_BYTES", 8, 8, "Bytes of one DRAM beat."),
            Field("JOB_QUEUE_DEPTH", 16, 8, "Jobs that can wait behind the running one."),
            Field("HEAD_DIMS", 24, 8, "Bit i: head dimension 32 * (i + 1) is supported."),
        ),
        "Configuration, continued.",
        "ro",
    ),
    Word(
        "CAPABILITY_3",
        7,
        (Field("QUERY_BUFFER_ROWS", 0, 16, "Query rows prefetched on chip."),),
        "Configuration, continued.",
        "ro",
    ),
    whole("MEMORY_BYTES", 8, "Size of device memory, in bytes.", access="ro"),
    Word(
        "CONTROL",
        9,
        (
            Field(
                "ABORT", 0, 1, "Write 1: end the running job with ABORTED, drop queued ones. Clears itself."
            ),
            Field("CLEAR_ERROR", 1, 1, "Write 1: clear JOB_ERROR and STATUS.ERROR. Clears itself."),
            Field("IRQ_ENABLE", 2, 1, "Raise the interrupt when a job ends."),
        ),
        "Commands to the sequencer.",
    ),
    Word(
        "STATUS",
        10,
        (
            Field("IDLE", 0, 1, "No job runs and none waits."),
            Field("QUEUE_FULL", 1, 1, "JOB_PUSH would be refused now."),
            Field("ERROR", 2, 1, "A job ended with an error since the last CLEAR_ERROR."),
            Field("DRAM_READY", 3, 1, "Device memory is initialised."),
            Field("QUEUE_LEVEL", 8, 8, "Jobs waiting behind the running one."),
        ),
        "State of the sequencer.",
        "ro",
    ),
    whole("JOB_PUSH", 11, "Write the address of a descriptor: the job is queued.", access="wo"),
    whole("JOBS_DONE", 12, "Jobs ended since reset, modulo 2^32.", access="ro"),
    whole("JOB_LAST_ID", 13, "job_id of the job that ended last.", access="ro"),
    Word(
        "JOB_ERROR",
        14,
        (Field("CODE", 0, 8, "Status of the first job that failed since the last CLEAR_ERROR, else 0."),),
        "Error register.",
        "ro",
    ),
    whole("WATCHDOG", 15, "A job running longer than this many cycles ends with WATCHDOG.", 100_000_000),
)

REGISTER_BY_NAME = {word.name: word for word in REGISTERS}


def identity_values(config: AcceleratorConfig, memory_bytes: int) -> dict[str, int]:
    """Values of the read-only identity fields for a device of this configuration."""
    return {
        "ABI_MINOR": config.abi_minor,
        "CONFIG_DIGEST_LO": config.digest & 0xFFFFFFFF,
        "CONFIG_DIGEST_HI": config.digest >> 32,
        "LANES": config.lanes,
        "TOPK_PARALLELISM": config.topk_parallelism,
        "OPERAND_BITS": config.operand_bits,
        "MAX_SEQUENCE": config.max_sequence,
        "KV_BUFFER_ROWS": config.kv_buffer_rows,
        "MAX_HEADS": config.max_heads,
        "BEAT_BYTES": config.beat_bytes,
        "JOB_QUEUE_DEPTH": config.job_queue_depth,
        "HEAD_DIMS": sum(1 << HEAD_DIMS.index(dim) for dim in config.head_dims),
        "QUERY_BUFFER_ROWS": config.query_buffer_rows,
        "MEMORY_BYTES": memory_bytes,
    }


def config_from_capabilities(values: dict[str, int]) -> AcceleratorConfig:
    """The configuration that a device's capability words describe."""
    dims = tuple(dim for i, dim in enumerate(HEAD_DIMS) if values["HEAD_DIMS"] >> i & 1)
    others = (f.name for f in fields(AcceleratorConfig) if f.name != "head_dims")
    return AcceleratorConfig(head_dims=dims, **{name: values[name.upper()] for name in others})
