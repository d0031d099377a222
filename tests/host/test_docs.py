# SPDX-License-Identifier: BSD-2-Clause
"""The pages say what the code does: presets, fields, defaults, examples and links."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from spatten import PRESETS, Schedule, load_schedule, preset
from spatten_drivers import KeyPolicy, Quantization

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCHEDULES = (ROOT / "docs" / "schedules.md").read_text("utf-8")


def test_every_preset_stands_with_its_description() -> None:
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (.*) \|$", SCHEDULES, re.MULTILINE))
    assert {name: rows.get(name) for name in PRESETS} == {n: p.description for n, p in PRESETS.items()}


@pytest.mark.parametrize(("kind", "prefix"), [(Schedule, ""), (Quantization, "quantization.")])
def test_every_field_stands_in_a_table(kind: type, prefix: str) -> None:
    table = SCHEDULES.partition(f"| `{prefix}` |" if prefix else "| field |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([a-z_]+)`", "\n".join(line.split("|")[1] for line in table.splitlines()[1:])))
    assert named == {field.name for field in fields(kind)}


def test_the_files_of_the_page_load(tmp_path: Path) -> None:
    progressive, by_key = re.findall(r"```toml\n(.*?)```", SCHEDULES, re.DOTALL)
    (tmp_path / "mine.toml").write_text(progressive, "utf-8")
    schedule = load_schedule(tmp_path / "mine.toml")
    assert schedule.name == "mine"
    assert schedule.quantization.k_policy is KeyPolicy.PROGRESSIVE
    assert len(schedule.plan(6).token_ratios) == 6
    (tmp_path / "keys-gpt2.toml").write_text(by_key, "utf-8")
    every = (1.0,) * 6
    assert load_schedule(tmp_path / "keys-gpt2.toml").with_(tokens=every, heads=every) == preset(
        "keys-gpt2", 6, 128
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
    local = [link for link in links if "://" not in link]
    missing = [link for link in local if not (page.parent / link).exists()]
    assert missing == []
