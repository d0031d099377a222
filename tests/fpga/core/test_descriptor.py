# SPDX-License-Identifier: BSD-2-Clause
"""The descriptor reader against the oracle's checks, on legal and on broken jobs."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from litex.gen import LiteXModule

from spatten_drivers import AcceleratorConfig
from spatten_drivers.job import JOB_WORDS
from spatten_drivers.model.checks import JobRejected, checked_job
from spatten_fpga.core.descriptor import Descriptor as Reader
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.port import BlockMemory
from spatten_fpga.sim.bench import Bench, gaps
from tests.model.corners import CORNERS
from tests.model.generator import random_spec
from tests.model.jobs import JobImage, JobSpec, build
from tests.model.oracle_checks import Refused, check
from tests.model.oracle_config import OracleConfig
from tests.model.oracle_format import JOB_FIELDS, Status, get_field
from tests.model.oracle_memory import Descriptor, pad
from tests.model.violations import VIOLATIONS, Violation

WINDOW = 1 << 13  # bytes of memory that the bench backs; a descriptor is shorter
BEATS = (4, 16, 64)
FIELDS = [f.name for word in JOB_WORDS for f in word.fields]
LISTS = ("heads", "keys", "queries")
LATENCY = 8  # of the memory
HAND_OVER = 11
ROWS = ("q", "k_msb", "k_lsb", "v_msb", "v_lsb", "output")


class Dut(LiteXModule):
    """A reader with its memory."""

    def __init__(self, geometry: Geometry) -> None:
        self.reader = Reader(geometry)
        self.memory = BlockMemory(geometry, WINDOW // geometry.config.beat_bytes, LATENCY)
        self.comb += [
            self.reader.port.command.connect(self.memory.port.command),
            self.memory.port.data.connect(self.reader.port.data),
        ]


def oracle_config(beat: int) -> OracleConfig:
    """One configuration for each beat size: the largest of everything, and small limits."""
    if beat == 4:
        return OracleConfig(head_dims=(32, 64, 96, 128), max_sequence=1024, max_heads=16, beat_bytes=4)
    return OracleConfig(beat_bytes=beat, operand_bits=12 if beat == 16 else 16)


@cache
def bench(beat: int) -> Bench:
    config = oracle_config(beat)
    geometry = Geometry(AcceleratorConfig(**vars(config)))
    dut = Dut(geometry)
    assert geometry.config.digest == config.digest
    reader = dut.reader
    return Bench(
        dut,
        {"sink": reader.sink, "write": dut.memory.port.write},
        {"heads": reader.heads, "keys": reader.keys, "queries": reader.queries},
        inputs={"memory_bytes": reader.memory_bytes},
        outputs={
            "status": reader.status,
            "answer_writable": reader.answer_writable,
            "last_job_id": reader.job_id,
            **reader.fields,
            **{f"row_{name}": signal for name, signal in reader.row_beats.items()},
        },
    )


class Vast(bytearray):
    """A memory that ends farther away than its bytes."""

    end = 0

    def __len__(self) -> int:
        return self.end


def write_window(dut: Bench, image: JobImage) -> None:
    """The beats from the descriptor on, as far as the window reaches."""
    beat = image.config.beat_bytes
    start = image.descriptor_address // beat * beat
    data = image.memory[start : start + WINDOW]
    tokens = [
        {
            "address": (start + at) // beat % (WINDOW // beat),
            "data": int.from_bytes(data[at : at + beat], "little"),
        }
        for at in range(0, sum(1 for _ in data), beat)
    ]
    dut.run({"write": tokens}, {})


def expected(image: JobImage) -> tuple[Status, bool, Descriptor | None]:
    """Status, whether an answer may be written, and the accepted job; oracle and driver agree on it."""
    try:
        job = check(image.memory, image.descriptor_address, image.config)
        verdict = Status.DONE, True, job
    except Refused as refusal:
        verdict = refusal.status, refusal.answered, None
    if not isinstance(image.memory, Vast):
        assert driver_verdict(image) == verdict[:2]
    return verdict


def driver_verdict(image: JobImage) -> tuple[int, bool]:
    """The same from the driver's software model."""
    config = AcceleratorConfig(**vars(image.config))
    try:
        checked_job(np.frombuffer(image.memory, np.uint8), image.descriptor_address, config)
    except JobRejected as refusal:
        return refusal.status, refusal.fields is not None
    return Status.DONE, True


def compare(image: JobImage, seed: int = 0) -> Status:
    """Run one descriptor through the reader; everything it says must be what the oracle says."""
    beat = image.config.beat_bytes
    dut = bench(beat)
    status, answered, job = expected(image)
    fields = stated_fields(image)
    write_window(dut, image)
    dut.set("memory_bytes", len(image.memory))
    # Lists are read if checks 1 to 9 passed; a refusal by a later check comes after them.
    listed = job is not None or (answered and status in LATE and lists_are_inside(image))
    counts = [tokens(fields, name) if listed else 0 for name in LISTS]
    run = dut.run(
        {"sink": [{"address": image.descriptor_address}]},
        dict(zip(LISTS, counts, strict=True)),
        take=gaps(seed),
        seed=seed,
        after=400,
    )
    assert Status(dut.get("status")) == status
    assert dut.get("answer_writable") == answered
    readable = image.descriptor_address % beat == 0 and image.descriptor_address + 256 <= len(image.memory)
    assert dut.get("last_job_id") == (fields["job_id"] if readable else 0)
    if listed:
        assert run.tokens == stated_lists(image, fields)
    if job is not None:
        assert {name: dut.get(name) for name in FIELDS} == {name: job[name] for name in FIELDS}
        rows = {name: job.row(job[f"{name}_bits"]) for name in ROWS if name != "output"}
        rows["output"] = job.pad(2 * job["head_dim"])
        assert {name: dut.get(f"row_{name}") * beat for name in ROWS} == rows
    return status


def tokens(fields: dict[str, int], name: str) -> int:
    """Of a list; keys come in pairs."""
    entries = fields[f"n_{name}"]
    return -(-entries // 2) if name == "keys" else entries


LATE = (Status.BAD_LIST, Status.BAD_ADDRESS, Status.EMPTY_ROW)


def stated_fields(image: JobImage) -> dict[str, int]:
    """Header fields as they lie in memory."""
    start = image.descriptor_address
    raw = bytes(image.memory[start : start + 256]).ljust(256, b"\0")
    words = [int.from_bytes(raw[at : at + 4], "little") for at in range(0, 256, 4)]
    return {name: get_field(words, place) for name, place in JOB_FIELDS.items()}


def lists_are_inside(image: JobImage) -> bool:
    """Tells a failure of check 11 from one of check 9, which has the same status."""
    return image.descriptor_address + stated_fields(image)["descriptor_bytes"] <= len(image.memory)


def stated_lists(image: JobImage, fields: dict[str, int]) -> dict[str, list[dict[str, int]]]:
    """The three lists as they lie in memory, as tokens."""
    beat, memory = image.config.beat_bytes, image.memory
    at = image.descriptor_address + 256
    heads = []
    for place in range(at, at + 8 * fields["n_heads"], 8):
        head_id, score_shift, score_mult, importance_mult, importance_shift, _ = struct.unpack(
            "<BBHHBB", memory[place : place + 8]
        )
        heads.append(
            {
                "head_id": head_id,
                "score_shift": score_shift % 64,
                "score_mult": score_mult,
                "importance_mult": importance_mult,
                "importance_shift": importance_shift % 64,
            }
        )
    lists: dict[str, list[dict[str, int]]] = {"heads": heads}
    at += pad(8 * fields["n_heads"], beat)
    for name in ("keys", "queries"):
        count = fields[f"n_{name}"]
        if name == "keys":
            pairs = tokens(fields, name)
            words = struct.unpack(f"<{pairs}I", memory[at : at + 4 * pairs])
            lists[name] = [{"slots": word, "both": int(2 * i + 2 <= count)} for i, word in enumerate(words)]
        else:
            slots = struct.unpack(f"<{count}H", memory[at : at + 2 * count])
            lists[name] = [{"slot": slot} for slot in slots]
        at += pad(2 * count, beat)
    return {
        name: [{**entry, "first": 0, "last": int(entry is entries[-1])} for entry in entries]
        for name, entries in lists.items()
    }


def legal_specs(beat: int, count: int) -> Iterator[JobSpec]:
    """Random jobs for the configuration of this beat."""
    rng = random.Random(beat)
    config = oracle_config(beat)
    made = 0
    while made < count:
        spec = random_spec(rng)
        if spec.head_dim not in config.head_dims:
            continue
        if (
            max(spec.widths.k_msb + spec.widths.k_lsb, spec.widths.v_msb + spec.widths.v_lsb)
            > config.operand_bits
        ):
            continue
        made += 1
        yield replace(spec, config=config)


@pytest.mark.parametrize("beat", BEATS)
def test_legal_jobs(beat: int) -> None:
    for seed, spec in enumerate(legal_specs(beat, 40)):
        assert compare(build(spec), seed) is Status.DONE


@pytest.mark.parametrize("name", CORNERS)
def test_corners(name: str) -> None:
    assert compare(build(replace(CORNERS[name][1], config=oracle_config(4)))) is Status.DONE


@pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda violation: violation.name)
def test_violations(violation: Violation) -> None:
    assert compare(violation.build()) == violation.status


@pytest.mark.parametrize("beat", BEATS)
def test_a_field_at_its_limits(beat: int) -> None:
    """Each field in turn takes values next to a bound: another field's, or an end of its range."""
    rng = random.Random(beat)
    seen = set()
    for seed, (spec, name) in enumerate(zip(legal_specs(beat, len(FIELDS) * 3), FIELDS * 3, strict=True)):
        image = build(spec)
        _, high, low = JOB_FIELDS[name]
        top = (1 << high - low + 1) - 1
        near = rng.choice([*stated_fields(image).values(), 0, top, 1024, 16, len(image.memory), beat])
        image.poke(name, max(0, min(top, near + rng.choice((-beat, -1, 0, 1, beat)))))
        seen.add(compare(image, seed))
    assert len(seen) >= 6


@pytest.mark.parametrize("beat", BEATS)
def test_a_byte_of_the_tables(beat: int) -> None:
    rng = random.Random(beat)
    seen = set()
    for seed, spec in enumerate(legal_specs(beat, 60)):
        image = build(spec)
        start, size = image.regions["descriptor"]
        image.memory[start + rng.randrange(256, size)] = rng.choice(
            (0, 1, 47, 48, 128, 255, rng.getrandbits(8))
        )
        seen.add(compare(image, seed))
    assert seen >= {Status.DONE, Status.BAD_LIST}


@pytest.mark.parametrize("count", [4, 5])
def test_a_wrong_key_at_every_place(count: int) -> None:
    """Keys are checked two at a time: each within its pair, and against the pair before."""
    config, keys = oracle_config(16), tuple(range(1, count + 1))
    spec = JobSpec(config, n_slots=count + 2, keys=keys, keep_values=1, keep_tokens=1)
    assert compare(build(spec)) is Status.DONE
    if count % 2:
        assert compare(with_key(spec, count, 0xFFFF)) is Status.DONE  # it only fills the last pair
    for place in range(count):
        wrong = [
            spec.n_slots,
            0x7FFF,
            *([place] if place else []),
            *([place + 2] if place < count - 1 else []),
        ]
        for slot in wrong:
            assert compare(with_key(spec, place, slot)) is Status.BAD_LIST
        for other in range(place):
            image = with_key(spec, place, 0x8000 | place + 1)
            assert compare(image) is Status.DONE
            poke_key(image, spec, other, 0x8000 | other + 1)
            assert compare(image) is Status.BAD_LIST  # more are protected than survive


def with_key(spec: JobSpec, place: int, slot: int) -> JobImage:
    image = build(spec)
    poke_key(image, spec, place, slot)
    return image


def poke_key(image: JobImage, spec: JobSpec, place: int, entry: int) -> None:
    """Overwrite an entry of the key list."""
    at = image.descriptor_address + 256 + pad(8 * len(spec.heads), image.config.beat_bytes) + 2 * place
    struct.pack_into("<H", image.memory, at, entry)


@pytest.mark.parametrize("beat", BEATS)
def test_the_end_of_a_vast_memory(beat: int) -> None:
    """Regions of the greatest strides that end with the memory, or a beat after; nothing wraps at 2^32."""
    rng = random.Random(beat)
    seen = []
    for seed, spec in enumerate(legal_specs(beat, 60)):
        image = build(spec)
        image.memory = Vast(image.memory)
        image.memory.end = rng.choice(((1 << 32) - 1, (1 << 32) - beat, rng.randrange(1 << 30, 1 << 32)))
        top = len(image.memory) // beat * beat
        planes = [p for p in ("k_msb", "k_lsb", "v_msb", "v_lsb") if spec.widths.of(p)]
        name = rng.choice([n for n in image.regions if n != "descriptor"])
        size = image.regions[name][1]
        if name in planes and spec.total_heads > 1:
            rows = size - (spec.total_heads - 1) * stated_fields(image)[f"{name}_stride"]
            stride = rng.choice((top, (top - rows) // (spec.total_heads - 1))) // beat * beat
            image.poke(f"{name}_stride", stride)
            size = rows + (spec.total_heads - 1) * stride
        place = max(0, top - size + beat * rng.choice((-1, 0, 0, 1)))
        image.poke(f"{name}_address", min(place, (1 << 32) - beat))
        seen.append(compare(image, seed))
    assert min(seen.count(Status.DONE), seen.count(Status.BAD_ADDRESS)) > 5


def test_cycles() -> None:
    """A word, two keys or a query a cycle, a head in two; checks in 8, and the latency of memory."""
    dut = bench(16)
    for spec in legal_specs(16, 3):
        image = build(spec)
        write_window(dut, image)
        dut.set("memory_bytes", len(image.memory))
        fields = stated_fields(image)
        counts = {name: tokens(fields, name) for name in LISTS}
        run = dut.run({"sink": [{"address": image.descriptor_address}]}, counts, after=0)
        assert run.cycles["heads"][0] - run.cycles["sink"][0] == 64 + 8 + 2 * LATENCY + HAND_OVER
        assert run.cycles["keys"] == [run.cycles["keys"][0] + i for i in range(counts["keys"])]
        dut.tick(400)
        assert dut.get("status") == Status.DONE


def verdict_after(dut: Bench, image: JobImage) -> int:
    """Cycles from the job's handshake to its status, which does not change then."""
    write_window(dut, image)
    dut.set("memory_bytes", len(image.memory))
    dut.run({"sink": [{"address": image.descriptor_address}]}, {}, after=1)
    cycles = 2
    while dut.get("status") == Status.PENDING:
        dut.tick()
        cycles += 1
        assert cycles < 400
    assert dut.get("status") == expected(image)[0]
    dut.tick(50)
    assert dut.get("status") == expected(image)[0]
    return cycles


def test_cycles_to_the_status() -> None:
    dut = bench(16)
    dut.reset()
    assert dut.get("status") == Status.PENDING
    broken = {violation.name: violation.build() for violation in VIOLATIONS}
    assert verdict_after(dut, broken["descriptor_unaligned"]) == 5
    for name in ("magic", "digest_low", "n_heads_0", "tables_outside"):
        assert verdict_after(dut, broken[name]) == 64 + 8 + LATENCY + HAND_OVER - 3
    for spec in legal_specs(16, 3):
        assert verdict_after(dut, build(spec)) <= 64 + 8 + 180 + LATENCY + HAND_OVER


@pytest.mark.parametrize("operand", ["k", "v"])
@pytest.mark.parametrize(
    ("msb", "status"), [(8, Status.DONE), (10, Status.BAD_FIELD), (12, Status.BAD_FIELD)]
)
def test_planes_of_more_bits_than_the_arrays_take(operand: str, msb: int, status: Status) -> None:
    """12 + 4 is 16, which four bits hold as 0."""
    widths = replace(CORNERS["refetch_some_rows"][1].widths, **{f"{operand}_msb": msb, f"{operand}_lsb": 4})
    spec = replace(CORNERS["refetch_some_rows"][1], config=oracle_config(16), widths=widths)
    assert compare(build(spec)) is status
