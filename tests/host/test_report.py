# SPDX-License-Identifier: BSD-2-Clause
"""The report: right numbers, self-contained, every text escaped, written whole or not at all."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from spatten.errors import ReportError
from spatten.record import LayerRecord, RunRecord
from spatten.report import Header, Section, build_report, check_writable, render_report, write_report
from spatten.report.write import readable_bytes, write_atomic
from spatten.runs.tasks import Run, TextRun
from spatten.runs.words import Word
from spatten_drivers.answer import BYTE_COUNTERS

HEADER = Header("A <title> & more", "spatten run 'a <b> c'", "2026-01-01 12:00 UTC", {"numpy": "2.0"})


def job(
    layer: int, keys: tuple[int, ...], heads: tuple[int, ...], step: int = 0, slots: int = 4
) -> LayerRecord:
    """A job of two heads in all that read 100 bytes of each plane a key."""
    counters = {counter.name: 0 for counter in BYTE_COUNTERS}
    counters |= {"read_k_msb": 100 * len(keys), "read_v_msb": 100 * len(keys), "read_q": 10}
    return LayerRecord(
        step,
        0,
        layer,
        counters,
        {"n_slots": slots, "n_queries": 2, "n_heads": 2, "total_heads": 2, "head_dim": 100},
        {"refetched_rows": layer, "keys_fetched": len(keys), "values_fetched": len(keys) - layer},
        np.array(keys),
        np.array(heads, np.uint8),
        np.array(keys),
        slots,
        lambda: f"{layer}{step}",
    )


def run_of(jobs: list[LayerRecord], words: list[Word], task: str = "embedding") -> Run:
    text = TextRun("text <1>", "words", words, RunRecord("emulator", "00", jobs), {"embedding": [1.0]}, 0.5)
    return Run("model", task, "paper-bert", "emulator", "00ff", 2, 2, [text])


WORDS = [Word("[CLS]", special=True), Word("<script>", " "), Word("alert(1)"), Word("</script>", " ")]
PRUNED = run_of([job(0, (0, 1, 2, 3), (0, 1)), job(1, (0, 3), (1,))], WORDS)


def section_of(run: Run) -> dict:
    return build_report(HEADER, [Section("A section", run)])["sections"][0]


def test_words_carry_the_share_of_layers_that_kept_them() -> None:
    words = section_of(PRUNED)["texts"][0]["words"]
    assert [word["level"] for word in words] == [10, 5, 5, 10]


def test_generated_text_counts_steps_and_leaves_the_last_token_unread() -> None:
    steps = [job(0, (0, 1, 2), (0, 1), 0, 3), job(1, (0, 1, 2), (0, 1), 0, 3)]
    steps += [job(0, (0, 1, 2, 3), (0, 1), 1), job(1, (0, 3), (0, 1), 1)]
    words = [Word("a"), Word("b"), Word("c"), Word("d", generated=True), Word("e", generated=True)]
    text = section_of(run_of(steps, words, "generation"))["texts"][0]
    assert [word["level"] for word in text["words"]] == [10, 5, 5, 10, 0]
    assert [word["unread"] for word in text["words"]] == [False] * 4 + [True]
    assert [row["alive"] for row in text["rows"]] == [4, 2]


def test_headline_names_both_baselines() -> None:
    numbers = section_of(PRUNED)["headline"]
    assert numbers["kv_bytes"] == 1200
    assert (numbers["dense_bytes_16"], numbers["dense_bytes_32"]) == (3200, 6400)
    assert numbers["ratio_32"] == pytest.approx(2 * numbers["ratio_16"]) == pytest.approx(6400 / 1200)
    assert numbers["keys_skipped_share"] == pytest.approx(2 / 8)


def test_layers_and_heads() -> None:
    section = section_of(PRUNED)
    assert section["heads"] == [[1.0, 1.0], [0.0, 1.0]]
    assert [layer["kv_bytes"] for layer in section["layers"]] == [800, 400]
    assert [layer["tokens_share"] for layer in section["layers"]] == [1.0, 0.5]
    assert [layer["refetch_share"] for layer in section["layers"]] == [0.0, 0.25]
    assert [layer["values_read_share"] for layer in section["layers"]] == [1.0, 0.5]
    assert sum(part["percent"] for part in section["layers"][0]["parts"]) == pytest.approx(100 * 800 / 3200)
    assert sum(kind["share"] for kind in section["kinds"]) == pytest.approx(1.0)


class Sources(HTMLParser):
    """Collects what a page would load and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")
        ]


def test_page_is_self_contained_and_escapes_every_text() -> None:
    table = ("Table <x>", ["a <c>"], [["<img src=x>"]])
    page = render_report(build_report(HEADER, [Section("One <two>", PRUNED, "lead <em>", [table])]))
    seen = Sources()
    seen.feed(page)
    assert all(load.startswith("#") for load in seen.loads)
    assert not seen.tags & {"script", "link", "img", "iframe", "object", "embed", "em", "x", "c", "two"}
    assert not re.search(r"url\(|@import|https?:", page)
    assert "&lt;script&gt;" in page
    assert "prefers-color-scheme: dark" in page


def test_page_holds_the_numbers() -> None:
    page = render_report(build_report(HEADER, [Section("A section", PRUNED)]))
    for shown in (
        "1.2 KiB",
        "2.7×",
        "5.3×",
        "less than dense 16 bit",
        "less than dense 32 bit",
        "00ff",
        "numpy 2.0",
    ):
        assert shown in page


def test_write_replaces_the_old_page_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(path, build_report(HEADER, [Section("A section", PRUNED)]))
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert os.listdir(tmp_path) == ["report.html"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_interrupted_write_keeps_the_old_page(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("spatten.atomic.os.replace", fail)
    with pytest.raises((KeyboardInterrupt, ReportError)):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_unwritable_paths_are_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="is a folder"):
        check_writable(tmp_path)
    with pytest.raises(ReportError, match="does not exist; make it first"):
        check_writable(tmp_path / "no" / "report.html")
    with pytest.raises(ReportError, match="cannot be written"):
        check_writable(tmp_path / ("n" * 300))
    check_writable(tmp_path / "report.html")
    assert os.listdir(tmp_path) == []


def test_readable_bytes() -> None:
    assert [readable_bytes(n) for n in (0, 1023, 1536, 150 << 10, 3 << 30)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "150 KiB",
        "3.0 GiB",
    ]
