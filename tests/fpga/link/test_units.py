# SPDX-License-Identifier: BSD-2-Clause
"""The parts of the link, each under random gaps, against what the page says in plain Python."""

from __future__ import annotations

import random

import numpy as np
import pytest

from spatten_drivers.link import Operation, Packet
from spatten_drivers.link.format import MAX_WORDS, DamagedPacketError, decode
from spatten_drivers.link.slip import Deframer, frame
from spatten_fpga.sim.bench import gaps

from .board import words_of
from .units import BEAT, STORE_PACKETS, STORE_WORDS, units

SEEDS = range(12)


def packet(rng: random.Random, words: int | None = None) -> bytes:
    count = rng.choice((0, 1, 2, rng.randint(0, 40))) if words is None else words
    numbers = (rng.getrandbits(32), rng.getrandbits(32), rng.getrandbits(32))
    return Packet(Operation.WRITE, *numbers, count, rng.randbytes(4 * count)).encode()


def broken(rng: random.Random, raw: bytes) -> bytes:
    """A packet with a fault, or none."""
    kind = rng.randrange(6)
    if kind == 0:
        place = rng.randrange(8 * len(raw))
        return raw[: place // 8] + bytes([raw[place // 8] ^ 1 << place % 8]) + raw[place // 8 + 1 :]
    if kind == 1:
        return raw[: rng.randint(1, len(raw))]
    if kind == 2:
        return raw + rng.randbytes(rng.randint(1, 9))
    if kind == 3:
        return Packet(Operation.READ, 1, 2, answer=True).encode()
    return raw


def is_request(raw: bytes) -> bool:
    try:
        return not decode(raw).answer
    except DamagedPacketError:
        return False


# Checker ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_the_checker_lets_requests_pass_and_nothing_else(seed: int) -> None:
    rng = random.Random(seed)
    raws = [broken(rng, packet(rng)) for _ in range(60)]
    raws[7:7] = [packet(rng, MAX_WORDS), packet(rng, MAX_WORDS + 1), packet(rng, 600), rng.randbytes(4)]
    tokens, expected = [], []
    for raw in raws:
        words = words_of(raw, seed)
        tokens += words
        kept = [word["data"] for word in words[1:]]
        good = is_request(raw) and len(words) <= MAX_WORDS + 6
        if len(words) > 1:
            limit = MAX_WORDS + 5
            kept = kept if len(kept) <= limit else [*kept[:limit], kept[-1]]
            expected += [(word, 0, seed) for word in kept[:-1]] + [(kept[-1], 1 - good, seed)]
    run = units().run(
        {"check": tokens}, {"checked": len(expected)}, offer=gaps(seed), take=gaps(seed + 1), seed=seed
    )
    found = [(t["data"], t["drop"], t["peer"]) for t in run.tokens["checked"]]
    assert found == expected


# Store --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_the_store_gives_whole_packets_in_order(seed: int) -> None:
    rng = random.Random(seed)
    tokens, expected = [], []
    for number in range(80):
        words = [rng.getrandbits(32) for _ in range(rng.choice((2, 3, 6, rng.randint(2, 28))))]
        drop = rng.random() < 0.3
        last = len(words) - 1
        tokens += [
            {"data": word, "peer": number, "last": int(i == last), "drop": int(i == last and drop)}
            for i, word in enumerate(words)
        ]
        if not drop:
            expected += [(word, number, len(words), int(i == last)) for i, word in enumerate(words)]
    run = units().run(
        {"store": tokens}, {"stored": len(expected)}, offer=gaps(seed), take=gaps(seed + 1), seed=seed
    )
    assert [(t["data"], t["peer"], t["words"], t["last"]) for t in run.tokens["stored"]] == expected


def test_the_store_holds_nothing_up_until_it_is_full() -> None:
    """A word a cycle both ways; what waits at a full ring goes on when there is room."""
    words = [{"data": i, "last": int(i % 8 == 7)} for i in range(STORE_WORDS * 4)]
    run = units().run({"store": words}, {"stored": len(words)})
    assert run.cycles["store"] == list(range(len(words)))
    assert run.cycles["stored"] == list(range(10, 10 + len(words)))
    run = units().run({"store": words}, {"stored": len(words)}, take=0.05, limit=20_000)
    assert [t["data"] for t in run.tokens["stored"]] == list(range(len(words)))


def test_the_store_counts_packets() -> None:
    """More packets than the list of them holds wait, and none is lost."""
    words = [{"data": i, "last": i % 2} for i in range(STORE_PACKETS * 8)]
    run = units().run({"store": words}, {"stored": len(words)}, take=0.1, limit=20_000)
    assert [(t["data"], t["words"]) for t in run.tokens["stored"]] == [(i, 2) for i in range(len(words))]


# Blocks -------------------------------------------------------------------------------------------


def begin(write: bool, address: int, words: int) -> None:
    bench = units()
    bench.set("is_write", write)
    bench.set("address", address)
    bench.set("count", words)
    bench.set("start", 1)
    bench.tick()
    bench.set("start", 0)
    assert not bench.get("done")


@pytest.mark.parametrize("seed", SEEDS)
def test_blocks(seed: int) -> None:
    rng = random.Random(seed)
    bench = units()
    memory = np.frombuffer(rng.randbytes(64 * BEAT), np.uint8).copy()
    expected = memory.copy()
    for _ in range(6):
        beats = rng.randint(1, MAX_WORDS * 4 // BEAT)
        address, words = BEAT * rng.randrange(64 - beats + 1), beats * BEAT // 4
        part = slice(address, address + 4 * words)
        pace = {"offer": gaps(rng.getrandbits(32)), "take": gaps(rng.getrandbits(32)), "seed": seed}
        if rng.random() < 0.5:
            data = np.frombuffer(rng.randbytes(4 * words), np.uint8)
            expected[part] = data
            begin(True, address, words)
            tokens = [{"data": int(word)} for word in data.view("<u4")]
            bench.run({"words": tokens}, {"write": beats}, memory=memory, **pace)
        else:
            begin(False, address, words)
            run = bench.run({}, {"read": words}, memory=memory, **pace)
            found = np.array([t["data"] for t in run.tokens["read"]], "<u4").view(np.uint8)
            np.testing.assert_array_equal(found, expected[part])
            assert [t["last"] for t in run.tokens["read"]] == [0] * (words - 1) + [1]
        assert bench.get("done")
        np.testing.assert_array_equal(memory, expected)


def test_a_block_is_written_once_the_memory_says_so() -> None:
    bench, memory = units(), np.zeros(BEAT, np.uint8)
    bench.set("pending", 1)
    begin(True, 0, BEAT // 4)
    bench.run({"words": [{"data": i} for i in range(BEAT // 4)]}, {"write": 1}, memory=memory)
    assert not bench.get("done")
    bench.set("pending", 0)
    assert bench.get("done")


def test_a_fault_of_the_memory_is_kept_until_the_next_block() -> None:
    bench, memory = units(), np.zeros(BEAT, np.uint8)
    begin(False, 0, BEAT // 4)
    bench.set("fault", 1)
    bench.run({}, {"read": BEAT // 4}, memory=memory)
    bench.set("fault", 0)
    assert bench.get("failed")
    begin(False, 0, BEAT // 4)
    assert not bench.get("failed")
    bench.run({}, {"read": BEAT // 4}, memory=memory)


# Lines --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_slip_to_words(seed: int) -> None:
    """Against the program that makes and reads frames, with noise between and within them."""
    rng = random.Random(seed)
    line = b"\xc0"
    for _ in range(12):
        raw = rng.choice(
            (packet(rng, 3), bytes(rng.choices((0xC0, 0xDB, 0xDC, 0xDD, 0), k=rng.randint(1, 12))))
        )
        line += frame(raw)
    packets = Deframer(2000).push(line)
    expected = [token for raw in packets for token in words_of(raw)]
    run = units().run(
        {"line": [{"data": byte} for byte in line]},
        {"packet": len(expected)},
        offer=gaps(seed),
        take=gaps(seed + 1),
        seed=seed,
    )
    whole = []
    for token, wanted in zip(run.tokens["packet"], expected, strict=True):
        damaged = token["damaged"] if token["last"] else 0
        assert (token["last"], damaged) == (wanted.get("last", 0), wanted.get("damaged", 0))
        if not wanted.get("damaged"):
            whole.append((token["data"], wanted["data"]))
    assert len(whole) > 30
    assert all(found == wanted for found, wanted in whole)


def test_a_wrong_escape_is_damage() -> None:
    line = bytes([0xC0, 1, 2, 0xDB, 9, 4, 0xC0, 1, 2, 3, 4, 0xC0, 1, 2, 3, 4, 0xDB, 0xC0, 5, 6, 7, 8, 0xC0])
    run = units().run({"line": [{"data": byte} for byte in line]}, {"packet": 4})
    assert [t["damaged"] for t in run.tokens["packet"]] == [1, 0, 1, 0]


@pytest.mark.parametrize("seed", SEEDS)
def test_words_to_slip(seed: int) -> None:
    rng = random.Random(seed)
    raws = [packet(rng) if rng.random() < 0.5 else bytes(rng.choices((0xC0, 0xDB), k=8)) for _ in range(12)]
    tokens = [token for raw in raws for token in words_of(raw)]
    for token in tokens:
        token.pop("damaged", None)
    expected = b"".join(frame(raw) for raw in raws)
    run = units().run(
        {"answer": tokens}, {"bytes": len(expected)}, offer=gaps(seed), take=gaps(seed + 1), seed=seed
    )
    assert bytes(t["data"] for t in run.tokens["bytes"]) == expected


def test_a_datagram_in_and_its_answer_out() -> None:
    """The answer goes to where the request came from, with its length; a datagram of odd bytes is damaged."""
    place = {"src_port": 40123, "dst_port": 1234, "ip_address": 0xC0A80105, "length": 8}
    good = [{"data": 1, **place}, {"data": 2, "last": 1, "last_be": 0b1000, **place}]
    odd = [{"data": 3, **place}, {"data": 4, "last": 1, "last_be": 0b0010, **place}]
    bad = [{"data": 5, "last": 1, "last_be": 0b1000, "error": 0b1000, **place}]
    peer = 0xC0A80105 << 16 | 40123
    run = units().run(
        {
            "received": good + odd + bad,
            "reply": [
                {"data": 7, "words": 2, "peer": peer},
                {"data": 8, "words": 2, "peer": peer, "last": 1},
            ],
        },
        {"request": 5, "sent": 2},
    )
    found = [(t["data"], t["last"], t["damaged"], t["peer"]) for t in run.tokens["request"]]
    assert [each for each in found if each[1]] == [(2, 1, 0, peer), (4, 1, 1, peer), (5, 1, 1, peer)]
    sent = {
        "src_port": 1234,
        "dst_port": 40123,
        "ip_address": 0xC0A80105,
        "length": 8,
        "error": 0,
        "first": 0,
    }
    assert run.tokens["sent"] == [
        {"data": 7, "last": 0, "last_be": 0, **sent},
        {"data": 8, "last": 1, "last_be": 0b1000, **sent},
    ]
