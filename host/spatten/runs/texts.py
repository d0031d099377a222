# SPDX-License-Identifier: BSD-2-Clause
"""Texts from the command line and from files, checked before a model is loaded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError


def gather_texts(given: Sequence[str], file: Path | None) -> list[str]:
    """The texts given, then those of ``file``: its paragraphs, separated by blank lines.

    Raises
    ------
    InputError : there is no text at all, one is blank, or the file cannot be read as UTF-8 text.
    """
    texts = [*given, *(read_paragraphs(file) if file else ())]
    if not texts:
        raise InputError(
            "no text was given; expected at least one TEXT or --file FILE. Try: spatten run 'A first text.'"
        )
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise InputError(
                f"text {number} is {text!r}; expected some words. Leave it out or write something"
            )
    return texts


def read_paragraphs(file: Path) -> list[str]:
    """Paragraphs of a UTF-8 text file (``-`` is standard input), line breaks inside them turned to spaces."""
    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise InputError(
            f"file {str(file)!r} cannot be read: {error.strerror}; expected a UTF-8 text file"
        ) from error
    return _paragraphs(_decoded(raw, file), file)


def _decoded(raw: bytes, file: Path) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"file {str(file)!r} is not text: byte {error.start} is 0x{raw[error.start]:02x}; expected "
            "UTF-8. Convert it first, for example with iconv"
        ) from error
    if "\0" in text:
        raise InputError(
            f"file {str(file)!r} is binary: byte {text.index(chr(0))} is zero; expected a UTF-8 text file"
        )
    return text


def _paragraphs(text: str, file: Path) -> list[str]:
    blocks = "\n".join(line.strip() for line in text.splitlines()).split("\n\n")
    paragraphs = [" ".join(block.split()) for block in blocks if block.strip()]
    if not paragraphs:
        raise InputError(f"file {str(file)!r} holds no words; expected paragraphs separated by blank lines")
    return paragraphs
