# SPDX-License-Identifier: BSD-2-Clause
"""Jobs by name for the coverage and the mutation run of one small core, and what surrounds them."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, cycle
from typing import Any

from spatten_drivers.answer import Status
from tests.model.corners import CORNERS
from tests.model.generator import MSB_WIDTHS, NEVER, random_spec, spread
from tests.model.jobs import HeadSpec, JobImage, JobSpec, Widths, build
from tests.model.oracle_config import OracleConfig
from tests.model.test_against_model import explain, run_model
from tests.model.violations import BREAKABLE, VIOLATIONS

from .core_bench import CoreBench

#: A small core in which everything is there that is in a large one: two keys a word at D = 32, jobs that fit
#: the buffers and jobs that stream, 1,024 keys.
CONFIG = OracleConfig(lanes=64, max_sequence=1024, kv_buffer_rows=16, topk_parallelism=8, query_buffer_rows=8)
SLOTS = tuple(range(9))
HEADS = tuple(HeadSpec(head, score_mult=20000 + 3000 * head) for head in range(4))
PROGRESSIVE = Widths(v_policy=2)


WRITTEN = ("output", "token_importance", "head_importance", "answer")


@dataclass(frozen=True)
class Stimulus:
    """A job and how it is run.

    Attributes
    ----------
    name : what it is.
    image : memory before the job.
    options : of :meth:`.core_bench.CoreBench.run`; ``stop_after`` or ``stop_in`` end it by force.
    """

    name: str
    image: JobImage
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def stopped(self) -> bool:
        return "stop_after" in self.options or "stop_in" in self.options

    @cached_property
    def expected(self) -> tuple[int, bytes]:
        """Status and memory of the software model; of a job that is pushed again, after the last time."""
        image = self.image
        for _ in range(self.options.get("times", 1)):
            status, memory = run_model(image, "numpy")
            image = replace(image, memory=bytearray(memory))
        return status, memory

    def run(self, core: CoreBench, limit: int = 400_000) -> tuple[str, tuple[int, bytes, dict[str, int]]]:
        """How core and model differ, empty if they do not; and what the core did."""
        did = core.run(self.image, limit=limit, **self.options)
        status, memory, _ = did
        if self._answered(memory) and core.job_id != self.job_id:
            return f"ended as job {core.job_id}, not {self.job_id}", did
        return self._stopped(status, memory) if self.stopped else self._ended(status, memory), did

    def _answered(self, memory: bytes) -> bool:
        """Whether there is an answer's header."""
        start = self.image.regions["answer"][0]
        return memory[start : start + 16] != self.image.memory[start : start + 16]

    def _ended(self, status: int, memory: bytes) -> str:
        expected_status, expected = self.expected
        if status != expected_status:
            return f"ended with {Status(status)!r}, not {Status(expected_status)!r}"
        return explain(self.image, memory, expected)

    def _stopped(self, status: int, memory: bytes) -> str:
        """A job that was ended by force may leave anything where it writes; its answer says how it ended."""
        cause = self.options["cause"]
        if status != cause:
            return f"ended with {Status(status)!r}, not {cause!r}"
        before = bytearray(self.image.memory)
        for name in WRITTEN:
            start, size = self.image.regions[name]
            before[start : start + size] = memory[start : start + size]
        start, version = self.image.regions["answer"][0], 1 << 16 | self.image.config.abi_minor
        if self._answered(memory):
            before[start : start + 16] = struct.pack("<4sIII", b"SPTA", version, self.job_id, cause)
        return explain(self.image, memory, bytes(before))

    @property
    def job_id(self) -> int:
        return int(struct.unpack_from("<I", self.image.memory, self.image.descriptor_address + 12)[0])


def fitting(spec: JobSpec) -> bool:
    """Whether the core takes the job."""
    return spec.head_dim in CONFIG.head_dims and spec.config.operand_bits <= CONFIG.operand_bits


def small(**changes: Any) -> JobImage:
    """A job of 9 keys, 3 queries and 4 heads on the core."""
    plain = JobSpec(
        config=CONFIG,
        n_slots=9,
        keys=SLOTS,
        queries=(2, 5, 8),
        total_heads=4,
        heads=HEADS,
        keep_heads=2,
        keep_tokens=5,
        widths=PROGRESSIVE,
        seed=1,
    )
    return build(replace(plain, **changes))


def longer(**changes: Any) -> JobImage:
    """A job of 21 keys, more than the buffers hold."""
    return small(n_slots=21, keys=tuple(range(21)), queries=(3, 11, 20), **changes)


# Parts of the run -----------------------------------------------------------------------------------


def corners() -> Iterator[Stimulus]:
    """The named jobs at the edges of the contract."""
    for name, (_, spec) in CORNERS.items():
        if fitting(spec):
            yield Stimulus(name, build(replace(spec, config=CONFIG)))


def number_formats() -> Iterator[Stimulus]:
    """Least, greatest and most negative operands of every width, with and without LSB planes."""
    for width in MSB_WIDTHS:
        for lsb in (0, 4):
            policy = 2 if lsb else 0
            widths = Widths(width, width, lsb, width, lsb, policy, policy)
            head = HeadSpec(1, 2 * (width + lsb) - 1, 40000)
            spec = {"heads": (head,), "keep_heads": 1, "widths": widths, "refetch_limit": 4 * 65535}
            yield Stimulus(f"extremes of {width} + {lsb} bits", small(fill="extreme", head_dim=64, **spec))
            if lsb == 0:
                yield Stimulus(f"most negative of {width} bits", small(fill="most_negative", **spec))


def policies() -> Iterator[Stimulus]:
    """Every legal pair of policies, with V and K of one head on chip, of two, and from memory."""
    for k_policy, v_policy in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)):
        widths = Widths(k_policy=k_policy, v_policy=v_policy)
        spec = {"widths": widths, "refetch_limit": 4 * 65535, "keep_values": 3}
        yield Stimulus(f"policies {k_policy}, {v_policy} on chip", small(**spec))
        yield Stimulus(
            f"policies {k_policy}, {v_policy}, two heads", small(n_slots=9, keys=SLOTS[:7], **spec)
        )
        yield Stimulus(
            f"policies {k_policy}, {v_policy} from memory", longer(**spec), {"pace": 0.7, "seed": 3}
        )
    for v_policy in (0, 1):
        widths = Widths(k_policy=3, v_policy=v_policy)
        for shift in (1, 2, 3, 5, 16):
            spec = {"widths": widths, "refetch_shift": shift, "queries": (8,), "keep_values": 3}
            yield Stimulus(f"policies 3, {v_policy}, shift {shift}", small(**spec))
    everyone = tuple(range(1024))
    flat = {"heads": tuple(HeadSpec(head, score_mult=0) for head in range(3)), "keep_tokens": 700}
    wide = {"n_slots": 1024, "keys": everyone, "queries": (1023,), "keep_values": 100, "refetch_shift": 16}
    image = small(widths=Widths(k_policy=3), **flat, **wide)
    yield Stimulus("1,024 keys refetch in each head", image, {"pace": 0.3})
    for pace in (1.0, 0.3):
        many = tuple(range(12))
        image = small(n_slots=12, keys=many, queries=many, widths=PROGRESSIVE, refetch_limit=5 * 65535)
        yield Stimulus(f"many rows, pace {pace}", image, {"pace": pace})
    yield Stimulus("all rows refetch, from memory", longer(widths=PROGRESSIVE, refetch_limit=0))
    yield Stimulus("no row refetches, from memory", longer(widths=PROGRESSIVE, refetch_limit=NEVER))


def sums() -> Iterator[Stimulus]:
    """Rows and importance at their ends."""
    steep = (HeadSpec(0, 1, 65535, 65535, 0), HeadSpec(3, 1, 65535, 65535, 0))
    flat = (HeadSpec(1, score_mult=0),)
    everyone = tuple(range(1024))
    wide = {"n_slots": 1024, "keys": everyone, "queries": (1023,), "keep_heads": 1, "keep_values": 700}
    yield Stimulus("1,024 keys of one weight", small(heads=flat, keep_tokens=900, **wide))
    yield Stimulus("1,024 keys of many weights", small(heads=HEADS[:1], keep_tokens=300, old="high", **wide))
    yield Stimulus("one key carries a row", small(heads=steep, old="high", add_heads=True, add_tokens=True))
    for keys in (33, 64, 150):
        for keep in (keys // 5, keys // 2):
            rows = {"n_slots": keys, "keys": tuple(range(keys)), "queries": (keys // 2, keys - 1)}
            image = small(keep_values=keep, keep_tokens=keep, **rows)
            yield Stimulus(f"{keep} values of {keys}", image)
    best = Widths(12, 12, 4, 12, 4, 1, 1)
    image = small(keys=(4,), fill="extreme", keep_tokens=1, widths=best, head_dim=64, seed=0)
    yield Stimulus("one key, the largest values", image)
    image = small(add_heads=True, old="random")
    start, _ = image.regions["head_importance"]
    image.memory[start + 14 : start + 16] = b"\x01\x00"  # above the 48 bits of head 1, which is live
    yield Stimulus("an old head importance above 48 bits", image)


def long_rows() -> Iterator[Stimulus]:
    """Rows that fill every lane of the top-k engines, and whose weights and tokens differ in every digit."""
    queries = 8
    for seed in range(12):
        draws = random.Random(f"long rows {seed}")
        keys = draws.randint(50, 130)
        octaves = (0.01, 0.1, 0.6, 2.0)
        heads = [spread(PROGRESSIVE, 32, deviation) for deviation in octaves]
        spec = {
            "n_slots": keys,
            "keys": tuple(range(keys)),
            "queries": tuple(range(keys - queries, keys)),
            "heads": tuple(HeadSpec(head, shift, mult) for head, (mult, shift) in enumerate(heads)),
            "keep_values": draws.randint(1, keys),
            "keep_tokens": draws.randint(1, keys),
            "old": "zero" if seed % 2 else "high",
            "add_tokens": True,
            "decay": draws.choice((65536, 40000)),
        }
        yield Stimulus(f"long rows {seed}", small(seed=seed, **spec))
    for seed in range(6):
        draws = random.Random(f"long rows by key {seed}")
        keys = draws.randint(30, 130)
        spec = {"n_slots": keys, "keys": tuple(range(keys)), "queries": (keys - 1,), "keep_values": keys // 3}
        shift = keys.bit_length() - 1 + seed % 3
        widths = Widths(k_policy=3, v_policy=seed % 2)
        image = small(seed=seed, widths=widths, refetch_shift=shift, **spec)
        yield Stimulus(f"long rows by key {seed}", image)


def token_sets() -> Iterator[Stimulus]:
    """One query and head whose tokens are ranked: sets of many sizes, of which many numbers are kept."""
    for seed in range(30):
        draws = random.Random(f"tokens {seed}")
        keys = draws.randint(20, 130)
        spec = {
            "n_slots": keys,
            "keys": tuple(range(keys)),
            "queries": (keys - 1,),
            "heads": (HeadSpec(1, score_mult=draws.choice((1000, 9000, 26000))),),
            "keep_heads": 1,
            "keep_tokens": draws.randint(1, keys),
        }
        yield Stimulus(f"{spec['keep_tokens']} tokens of {keys}", small(seed=seed, **spec))


def large_distances() -> Iterator[Stimulus]:
    """Distances far above what a weight can show, by all ways to scale them down."""
    scales = ((65535, 16), (9001, 12), (511, 7), (40, 3))
    heads = tuple(HeadSpec(head, shift, mult) for head, (mult, shift) in enumerate(scales))
    for seed in range(2):
        rows = {"n_slots": 100, "keys": tuple(range(100)), "queries": tuple(range(84, 100))}
        best = Widths(12, 12, 4, 12, 4, 1, 1)
        yield Stimulus(
            f"large distances {seed}", small(heads=heads, widths=best, head_dim=64, seed=seed, **rows)
        )


def passed_by() -> Iterator[Stimulus]:
    """A causal job most of whose keys come between its two queries or behind them."""
    causal = {"n_slots": 1024, "keys": tuple(range(1024)), "queries": (300, 900), "causal": True}
    yield Stimulus("1,024 keys pass by two queries", small(heads=HEADS[:1], keep_heads=1, **causal))


def random_jobs(count: int, label: str = "coverage") -> Iterator[Stimulus]:
    """Random jobs, with random gaps and latencies."""
    for seed in range(count):
        draws = random.Random(f"{label} {seed}")
        while not fitting(spec := random_spec(draws)):
            pass
        options = {
            "pace": draws.choice((1.0, 0.7, 0.3)),
            "latency": draws.choice((1, 5, 20, 60)),
            "seed": seed,
        }
        yield Stimulus(f"random {seed}", build(replace(spec, config=CONFIG)), options)


def refused() -> Iterator[Stimulus]:
    """Jobs that break a rule of the contract, each followed by one that does not."""
    clean = Stimulus("the next job", build(replace(BREAKABLE, config=CONFIG)))
    for violation in VIOLATIONS:
        image = build(replace(violation.spec or BREAKABLE, config=CONFIG))
        violation.break_it(image)
        yield Stimulus(violation.name, image)
        yield clean


def stopped(states: list[str]) -> Iterator[Stimulus]:
    """Jobs that are ended by force, each followed by a clean one."""
    image, clean = small(refetch_limit=3 * 65535), Stimulus("the next job", small(refetch_limit=3 * 65535))
    for state in states:
        yield Stimulus(f"aborted in {state}", image, {"stop_in": state, "cause": Status.ABORTED})
        yield clean
    causes = cycle((Status.WATCHDOG, Status.MEMORY_FAULT, Status.ABORTED))
    streamed = longer(refetch_limit=3 * 65535)
    by_key = small(widths=Widths(k_policy=3), refetch_shift=4, queries=(8,))
    for job, last in ((image, 800), (streamed, 1330), (by_key, 900)):
        after = Stimulus("the next job", job)
        for moment in range(20, last, 30):
            cause = next(causes)
            options = {"stop_after": moment, "cause": cause, "pace": 0.7, "latency": 60, "seed": moment}
            yield Stimulus(f"{cause.name} after {moment} cycles", job, options)
            yield after
    everyone = tuple(range(1024))
    wide = small(n_slots=1024, keys=everyone, queries=(1023,), heads=HEADS[:1], keep_heads=1)
    whole = Stimulus("the next job, of 1,024 keys", wide)
    yield whole
    for moment in (300, 450):
        options = {"stop_after": moment, "cause": Status.ABORTED}
        yield Stimulus(f"1,024 sums are cleared, aborted after {moment} cycles", wide, options)
        yield whole
    slow = small(queries=SLOTS)
    for moment in range(1000, 2600, 150):
        options = {"stop_after": moment, "cause": Status.ABORTED, "pace": 0.2, "seed": moment}
        yield Stimulus(f"slow memory, aborted after {moment} cycles", slow, options)
    yield clean
    silent = {"stop_after": 300, "cause": Status.WATCHDOG, "answers": False}
    yield Stimulus("memory never answers", image, silent)
    yield clean
    deaf = {"stop_in": "RUN", "cause": Status.ABORTED, "writable": False}
    yield Stimulus("memory takes no writes", image, deaf)
    yield clean  # takes the beat that was left on offer, and writes it again itself


def repeated() -> Iterator[Stimulus]:
    """Jobs pushed one right behind the other."""
    yield Stimulus("back to back", small(add_tokens=True, add_heads=True), {"times": 3})
    image = build(replace(BREAKABLE, config=CONFIG))
    image.poke("config_digest_lo", 1)
    yield Stimulus("back to back, refused", image, {"times": 2})


def everything(states: list[str], jobs: int) -> list[Stimulus]:
    """The whole run."""
    parts = (
        random_jobs(jobs),
        corners(),
        policies(),
        number_formats(),
        sums(),
        long_rows(),
        token_sets(),
        large_distances(),
        passed_by(),
        repeated(),
        stopped(states),
        refused(),
    )
    return list(chain.from_iterable(parts))
