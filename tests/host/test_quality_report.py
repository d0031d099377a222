# SPDX-License-Identifier: BSD-2-Clause
"""Tables, sentences and the plot of the quality study, from made-up cells whose verdicts are plain."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from spatten.errors import ReportError
from spatten.quality.metrics import ACCURACY, PERPLEXITY, Estimate
from spatten.quality.plot import save_plot
from spatten.quality.report import (
    change_text,
    lines_of,
    quality_text,
    study_json,
    study_markdown,
)
from spatten.quality.rows import FLOAT, KEYS, ROWS, Row
from spatten.quality.study import Cell, Plan
from spatten.quality.tasks import Classification, Perplexity
from spatten.report.markdown import markdown_table

SENTIMENT = Classification("s", "Sentiment", "MIT", list, size=100, train_size=0)
PROSE = Perplexity("p", "Prose", "public domain", str, 8, list)
SAME, BROKEN = Row("8 bit", "bits", bits=8), Row("hard", "together", bits=(6, 4), tokens=0.5)
PLAN = Plan([SENTIMENT, PROSE], [SAME, BROKEN], Path("unused"))


def cell(task: str, row: Row, scores: np.ndarray, read: int) -> Cell:
    """A finished cell that would have read 1,000 bytes dense at 16 bit."""
    dense = 0 if row == FLOAT else 1000
    return Cell(task, row.name, "made up", scores.tolist(), 0.5 if task == "s" else None, read, dense, 1.0)


def cells() -> list[Cell]:
    """Both tasks: equal at 500 bytes, clearly worse at 100."""
    right, nats = (np.arange(100) < 80).astype(float), np.linspace(3.9, 4.1, 8)
    made = [
        cell("s", FLOAT, right, 0),
        cell("s", SAME, right, 500),
        cell("s", BROKEN, np.roll(right, 40), 100),
    ]
    made[2] = cell("s", BROKEN, (np.arange(100) < 50).astype(float), 100)
    return [*made, cell("p", FLOAT, nats, 0), cell("p", SAME, nats, 500), cell("p", BROKEN, nats + 0.5, 100)]


def test_table_in_markdown() -> None:
    assert (
        markdown_table(["a", "b"], [["x", "1"], ["y", "2"]])
        == "| a | b |\n| --- | ---: |\n| x | 1 |\n| y | 2 |"
    )


def test_numbers_carry_their_intervals() -> None:
    assert quality_text(ACCURACY, Estimate(0.8134, 0.771, 0.849)) == "81.3 % (77.1 to 84.9)"
    assert quality_text(PERPLEXITY, Estimate(55.123, 50, 60.456)) == "55.12 (50.00 to 60.46)"
    assert change_text(ACCURACY, Estimate(-0.023, -0.041, 0.004)) == "-2.3 points (-4.1 to +0.4)"
    assert change_text(PERPLEXITY, Estimate(0.018, 0.01, 0.03)) == "+1.8 % (+1.0 to +3.0)"


def test_float_reads_everything_at_32_bit() -> None:
    base, same, broken = (line.cell for line in lines_of(SENTIMENT, PLAN.all_rows(), cells()))
    assert [base.kv_ratio(32), base.kv_ratio(16)] == [1.0, 0.5]
    assert [same.kv_ratio(32), same.kv_ratio(16)] == [4.0, 2.0]
    assert broken.kv_ratio(32) == pytest.approx(20.0)


def test_verdicts_come_from_the_paired_scores() -> None:
    for task in (SENTIMENT, PROSE):
        assert [line.verdict for line in lines_of(task, PLAN.all_rows(), cells())][1:] == [
            "no change shown",
            "lost",
        ]


def test_page_says_what_was_lost_and_how_it_was_made() -> None:
    page = study_markdown(PLAN, cells(), "python -m spatten.quality --seed 0", "quality.svg")
    assert "Made by `python -m spatten.quality --seed 0` (seed 0)." in page
    assert "**Sentiment**: lost with hard (-30.0 points (-30.0 to " in page
    assert "Fewest bytes without a loss shown: 8 bit, 4.0x below 32 bit." in page
    assert "| hard | 20.00x | 10.00x | 50.0 % (40.4 to 59.6) |" in page
    assert "100 examples. A model that knows nothing scores 50.0 %." in page
    assert "8 windows.\n" in page
    assert "- Prose: public domain." in page
    assert "Of 4 comparisons" in page


def test_page_says_what_rows_by_key_read() -> None:
    row = Row("keys", "together", **KEYS, value_share=0.003)
    made = [cell("s", FLOAT, np.ones(10), 0), cell("s", row, np.ones(10), 180)]
    page = study_markdown(Plan([SENTIMENT], [row], Path("unused")), made, "x", "y.svg")
    formats = "4+4, V 4, LSBs of keys above 1/64"
    assert f"| keys | {formats} | 100 % |  |  | 100 % | above 0.003 of the greatest |" in page


def test_page_of_development_examples_warns() -> None:
    warning = "report no result from this page"
    assert warning not in study_markdown(PLAN, cells(), "x", "y.svg")
    assert warning in study_markdown(replace(PLAN, development=True), cells(), "x", "y.svg")


def test_page_without_losses_says_so() -> None:
    plan = Plan([SENTIMENT], [SAME], Path("unused"))
    assert "**Sentiment**: no loss shown." in study_markdown(plan, cells(), "x", "y.svg")


def test_json_has_everything() -> None:
    record = json.loads(json.dumps(study_json(PLAN, cells(), "x")))
    hard = record["tasks"][1]["rows"][2]
    assert (hard["row"], hard["verdict"], hard["kv_ratio_32"]) == ("hard", "lost", 20.0)
    assert len(hard["scores"]) == 8


def test_plot_is_a_small_svg_and_the_same_each_time(tmp_path: Path) -> None:
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    for path in (first, second):
        save_plot(path, PLAN, cells())
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 60_000
    assert ElementTree.parse(first).getroot().tag.endswith("svg")
    assert sorted(tmp_path.iterdir()) == [first, second]


def test_plot_into_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="does not exist"):
        save_plot(tmp_path / "missing" / "a.svg", PLAN, cells())


def test_plot_of_all_rows_stays_small(tmp_path: Path) -> None:
    """Sizes of the real study: five tasks, every row."""
    draws = np.random.default_rng(0)
    tasks = [Classification(f"t{n}", f"Task {n}", "own", list, 10, 0) for n in range(5)]
    made = [
        cell(task.name, row, (draws.random(50) < 0.8).astype(float), 2000 - 50 * number)
        for task in tasks
        for number, row in enumerate(ROWS)
        if not row.recent
    ]
    save_plot(tmp_path / "all.svg", Plan(tasks, ROWS, tmp_path), made)
    assert (tmp_path / "all.svg").stat().st_size < 100_000  # outlines instead of text would take 200 KB
