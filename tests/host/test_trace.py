# SPDX-License-Identifier: BSD-2-Clause
"""Workload traces: the authors' files to the byte, hand-made ones by hand, and what damage says."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from spatten.cli import app
from spatten.errors import TraceError
from spatten.trace import read_trace

#: The authors' traces: beside the clone, or where the variable says.
TRACES = Path(
    os.environ.get("SPATTEN_TRACES", Path(__file__).resolve().parents[2].parent / "shared" / "traces")
)
PRUNED = "gpt2-small-wikitext2-per8.csv"
DENSE = "gpt2-small-wikitext2-per8-step1+dedic.csv"
DENSE_BYTES_16 = 1_189_675_008

HEADER = (
    "iteration_id,layer_id,head_id,embedding_length_D,sentence_length_L,key_fetch_num,quant_key_bit,"
    "quant_query_bit,auto_requant_thres,if_requant,auto_requant_incre,value_fetch_num,quant_value_bit,"
    "if_accumulate_importance,if_rescale_previous_importance,if_topk,topk"
)
CONFIG = "configs/hand-made.yml" + 16 * ","
#: Heads fall from 2 to 1. The last row has neither top-k nor importance, as in published traces.
SMALL = [
    HEADER,
    "0,0,0,64.0,9,9,12,16,-1,False,-1,3,8,True,False,False,-1",
    "0,0,1,64.0,9,8,-1,-1,-1,False,-1,8,-1,True,False,True,8",
    "0,1,0,64.0,9,8,6,16,0.05,False,4,1,6,True,True,False,-1",
    "1,0,0,64.0,10,10,6,16,0.05,True,4,10,10,True,False,False,-1",
    "1,0,1,64.0,10,10,8,16,-1,False,-1,2,12,True,False,True,4",
    "1,1,0,64.0,10,4,4,16,-1,False,-1,4,4,False,False,False,-1",
    CONFIG,
]
#: Bytes of those rows by hand: rows rounded up to 8, times 64 elements, times bits / 8.
SMALL_BYTES = [  # K MSB, K LSB, V
    (16 * 64, 16 * 32, 8 * 64),  # 12-bit keys: 8 bits, LSBs forced; 3 of 9 values
    (8 * 64, 8 * 32, 8 * 64),  # -1: the same; -1 values: 8 bits
    (8 * 48, 0, 8 * 48),  # 6 bits, no refetch
    (16 * 48, 16 * 32, 16 * 64),  # 6 bits, refetched; 10-bit values: 8 bits
    (16 * 64, 0, 8 * 64),  # 8 bits as they are; 12-bit values: 8 bits
    (8 * 32, 0, 8 * 32),  # 4 bits
]


def authors_trace(name: str) -> Path:
    path = TRACES / name
    if not path.is_file():
        pytest.skip(
            f"{path} is missing; expected the authors' traces in shared/traces beside the clone, "
            "or in the folder that SPATTEN_TRACES names"
        )
    return path


def written(folder: Path, lines: list[str] | bytes) -> Path:
    path = folder / "trace.csv"
    path.write_bytes(lines if isinstance(lines, bytes) else "".join(f"{line}\n" for line in lines).encode())
    return path


def spatten(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def json_of(path: Path) -> Any:
    result = spatten("trace", path, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


# ---------------------------------------------------------------------------------------- the authors' traces

ORACLE = {
    PRUNED: ((62_337_024, 8_644_352, 12_722_688), 83_704_064, "14.21", "28.43", 323),
    DENSE: ((298_450_944, 149_225_472, 298_450_944), 746_127_360, "1.59", "3.19", 4_608),
}


@pytest.mark.parametrize("name", ORACLE)
def test_authors_traces_add_up_to_the_byte(name: str) -> None:
    kinds, total, ratio_16, ratio_32, refetched = ORACLE[name]
    found = json_of(authors_trace(name))
    assert (found["rows"], found["iterations"], found["layers"], found["heads"]) == (4_608, 32, 12, 12)
    assert found["by_kind"] == by_kind(*kinds)
    assert found["total_bytes"] == total
    assert (found["dense_bytes_16"], found["dense_bytes_32"]) == (DENSE_BYTES_16, 2 * DENSE_BYTES_16)
    assert (f"{found['ratio_16']:.2f}", f"{found['ratio_32']:.2f}") == (ratio_16, ratio_32)
    assert found["refetched_rows"] == refetched
    assert found["head_dim"] == 64
    assert found["lengths"] == list(range(993, 1025))
    assert found["config"].startswith("configs/gpt2/wikitext2/gpt2_pp11")


@pytest.mark.parametrize("name", ORACLE)
def test_layers_of_authors_traces_agree_with_a_second_count(name: str) -> None:
    path = authors_trace(name)
    layers: Counter[int] = Counter()
    for line in path.read_text(encoding="utf-8").splitlines()[1:-1]:
        cells = line.split(",")
        layers[int(cells[1])] += bytes_of_published_row(cells)
    found = json_of(path)["by_layer"]
    assert {layer["layer"]: layer["total_bytes"] for layer in found} == layers
    assert all(sum(layer["by_kind"].values()) == layer["total_bytes"] for layer in found)
    assert [layer["dense_bytes_16"] for layer in found] == [DENSE_BYTES_16 // 12] * 12


def bytes_of_published_row(cells: list[str]) -> int:
    """Only what the two traces hold: 6 bits, or -1 for 8 bits and a refetch."""
    keys, values = ((int(cells[index]) + 7) // 8 * 8 for index in (5, 11))
    if cells[6] == "-1":
        return keys * (64 + 32) + values * 64
    assert cells[6] == cells[12] == "6"
    return keys * (48 + 32 * (cells[9] == "True")) + values * 48


@pytest.mark.parametrize("name", ORACLE)
def test_tables_show_the_totals(name: str) -> None:
    kinds, total, ratio_16, ratio_32, _ = ORACLE[name]
    shown = spatten("trace", authors_trace(name)).stdout
    for number in (f"{total:,}", f"{DENSE_BYTES_16:,}", f"{ratio_16}x", f"{ratio_32}x"):
        assert number in shown
    assert all(f"{count:,}" in shown for count in kinds)


# ------------------------------------------------------------------------------------------- hand-made traces


def by_kind(k_msb: int, k_lsb: int, v: int) -> dict[str, int]:
    return {"read_k_msb": k_msb, "read_k_lsb": k_lsb, "read_v_msb": v, "read_v_lsb": 0}


def test_each_row_reads_the_bytes_counted_by_hand(tmp_path: Path) -> None:
    rows = read_trace(written(tmp_path, SMALL)).rows
    assert [row.by_kind for row in rows] == [by_kind(*counted) for counted in SMALL_BYTES]


def test_sums_of_a_pruned_trace(tmp_path: Path) -> None:
    found = json_of(written(tmp_path, SMALL))
    assert found["by_kind"] == by_kind(3968, 1280, 3200)
    assert found["total_bytes"] == 8448
    # 2 layers, 2 heads before pruning, 9 and then 10 tokens, K and V of 64 elements of 2 bytes
    assert found["dense_bytes_16"] == 2 * 2 * (9 + 10) * 2 * 64 * 2
    assert found["ratio_16"] == pytest.approx(19456 / 8448)
    assert found["ratio_32"] == pytest.approx(2 * 19456 / 8448)
    assert (found["rows"], found["refetched_rows"]) == (6, 3)
    assert (found["keys_fetched"], found["values_fetched"]) == (49, 28)
    assert found["config"] == "configs/hand-made.yml"
    assert found["rows_read_as_8_bit"] == {"keys": 2, "values": 3}


def test_layers_of_a_pruned_trace(tmp_path: Path) -> None:
    first, second = json_of(written(tmp_path, SMALL))["by_layer"]
    assert (first["layer"], first["rows"], first["by_kind"]) == (0, 4, by_kind(3328, 1280, 2560))
    assert (second["layer"], second["rows"], second["by_kind"]) == (1, 2, by_kind(640, 0, 640))
    assert (first["dense_bytes_16"], second["dense_bytes_16"]) == (9728, 9728)
    assert second["ratio_16"] == pytest.approx(9728 / 1280)


def test_heads_fall_as_in_the_authors_gpt2_medium_trace(tmp_path: Path) -> None:
    heads = (16, 16, 13, 10)
    rows = [
        f"{token},{layer},{head},64.0,{993 + token},921,12,16,-1,False,-1,276,8,True,False,False,-1"
        for token in range(3)
        for layer, count in enumerate(heads)
        for head in range(count)
    ]
    found = json_of(written(tmp_path, [HEADER, *rows, CONFIG]))
    assert found["heads"] == 16
    assert [layer["rows"] for layer in found["by_layer"]] == [3 * count for count in heads]
    assert found["total_bytes"] == 3 * sum(heads) * (928 * (64 + 32) + 280 * 64)
    assert found["dense_bytes_16"] == 4 * 16 * (993 + 994 + 995) * 256


def test_other_head_dimensions_scale(tmp_path: Path) -> None:
    half = [line.replace(",64.0,", ",32,") for line in SMALL]
    found = json_of(written(tmp_path, half))
    assert (found["head_dim"], found["total_bytes"]) == (32, 8448 // 2)


def with_columns_turned(lines: list[str]) -> list[str]:
    """All columns but the first in reverse order."""
    cells = [line.split(",") for line in lines]
    return [",".join([first, *reversed(rest)]) for first, *rest in cells]


HARMLESS: dict[str, Callable[[list[str]], list[str] | bytes]] = {
    "byte order mark": lambda lines: ["\ufeff" + lines[0], *lines[1:]],
    "windows line ends": lambda lines: "".join(f"{line}\r\n" for line in lines).encode(),
    "no last line end": lambda lines: "\n".join(lines).encode(),
    "blank lines": lambda lines: [*lines[:3], "", *lines[3:], "  ", ""],
    "quoted cells": lambda lines: [",".join(f'"{cell}"' for cell in line.split(",")) for line in lines],
    "columns in another order": with_columns_turned,
    "configuration without commas": lambda lines: [*lines[:-1], "2x.yml"],
    "flags in lower case": lambda lines: [lines[0], *(line.replace("True", "true") for line in lines[1:])],
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_differences_change_nothing(name: str, tmp_path: Path) -> None:
    assert json_of(written(tmp_path, HARMLESS[name](SMALL)))["total_bytes"] == 8448


def test_missing_configuration_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL[:-1])
    result = spatten("trace", path, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["total_bytes"] == 8448
    assert json.loads(result.stdout)["config"] is None
    assert result.stderr == (
        f"the last line of {str(path)!r} names no configuration, as published traces do; is it whole?\n"
    )


# ----------------------------------------------------------------------------------------------------- damage

WIDTHS = "one of -1, 4, 6, 8, 10, 12 (-1 is not configured)"
CUT = "17 cells as in the header; the file may be cut"
GAP = "lines are missing, doubled or out of order"
ROW = "a row for each head of each layer and token"
COLUMNS = f"a header with each of the columns {HEADER.replace(',', ', ')}"
TEXT = "a CSV file in UTF-8; if it is packed, unpack it first"


def changed(line: int, column: str, cell: str) -> list[str]:
    """``SMALL`` with another cell in ``line``, counted from 1."""
    cells = SMALL[line - 1].split(",")
    cells[HEADER.split(",").index(column)] = cell
    return [*SMALL[: line - 1], ",".join(cells), *SMALL[line:]]


def without(*lines: int) -> list[str]:
    return [text for number, text in enumerate(SMALL, 1) if number not in lines]


def without_column(column: int) -> list[str]:
    return [",".join(cell for i, cell in enumerate(line.split(",")) if i != column) for line in SMALL]


FAULTS = {
    "empty file": (b"", f"line 1: the file is empty: ''; expected {COLUMNS}"),
    "blank lines only": (b"\n \n", f"line 1: the file is empty: ''; expected {COLUMNS}"),
    "another file": (["one,two", "1,2"], f"line 1: the file starts with 'one,two'; expected {COLUMNS}"),
    "no header": (
        SMALL[1:],
        f"line 1: the file starts with '{SMALL[1]}'; expected {COLUMNS}",
    ),
    "semicolons": (
        [line.replace(",", ";") for line in SMALL],
        f"line 1: the file starts with '{HEADER.replace(',', ';')[:79]}…'; expected {COLUMNS}",
    ),
    "missing column": (without_column(16), f"line 1: there is no column 'topk'; expected {COLUMNS}"),
    "extra column": (
        [f"{line},x" for line in SMALL],
        f"line 1: there is the unknown column 'x'; expected {COLUMNS}",
    ),
    "doubled column": (
        [f"{HEADER},topk", *SMALL[1:]],
        f"line 1: there is twice the column 'topk'; expected {COLUMNS}",
    ),
    "header only": (
        [HEADER],
        f"line 1: there are no rows, only '{HEADER[:79]}…'; expected {ROW}",
    ),
    "no rows": (
        [HEADER, CONFIG],
        f"line 2: there are no rows, only 'configs/hand-made.yml'; expected {ROW}",
    ),
    "binary": (b"\x7fELF\x00\x00", f"line 1: there is the byte '0x00'; expected {TEXT}"),
    "gzip": (b"\x1f\x8b\x08", f"line 1: there is the byte '0x8b'; expected {TEXT}"),
    "latin-1": (
        f"{SMALL[0]}\n{SMALL[1]}\n".encode() + b"\xe9",
        f"line 3: there is the byte '0xe9'; expected {TEXT}",
    ),
    "stray quotation mark": (
        [*SMALL[:3], f'"{SMALL[3]}', *SMALL[4:]],
        "line 4: the CSV reader says 'unexpected end of data'; "
        "expected short cells without stray quotation marks",
    ),
    "row cut": (
        [*SMALL[:6], SMALL[6][:16]],
        f"line 7: 7 cells in '1,1,0,64.0,10,4,'; expected {CUT}",
    ),
    "row cut to a number": (
        [*SMALL[:6], "1"],
        f"line 7: 1 cell in '1'; expected {CUT}",
    ),
    "last cell cut": (
        [*SMALL[:6], SMALL[6][:-1]],
        "line 7: topk is '-'; expected -1 (not configured) or a whole number of 1 or more",
    ),
    "extra cell": (
        [*SMALL[:2], f"{SMALL[2]},3", *SMALL[3:]],
        f"line 3: 18 cells in '{SMALL[2]},3'; expected {CUT}",
    ),
    "rows after the configuration": (
        [*SMALL, SMALL[1]],
        f"line 9: after the configuration stands '{SMALL[1]}'; expected nothing",
    ),
    "text for a number": (
        changed(3, "key_fetch_num", "many"),
        "line 3: key_fetch_num is 'many'; expected a whole number of 1 or more",
    ),
    "nothing for a number": (
        changed(3, "head_id", ""),
        "line 3: head_id is ''; expected a whole number of 0 or more",
    ),
    "negative number": (
        changed(3, "key_fetch_num", "-8"),
        "line 3: key_fetch_num is '-8'; expected a whole number of 1 or more",
    ),
    "-1 where it means nothing": (
        changed(3, "value_fetch_num", "-1"),
        "line 3: value_fetch_num is '-1'; expected a whole number of 1 or more",
    ),
    "fraction": (
        changed(2, "embedding_length_D", "64.5"),
        "line 2: embedding_length_D is '64.5'; expected a whole number of 1 or more",
    ),
    "too many digits": (
        changed(2, "sentence_length_L", "9" * 5000),
        f"line 2: sentence_length_L is '{'9' * 79}…'; expected a whole number of 1 or more",
    ),
    "other digits": (
        changed(2, "sentence_length_L", "٩"),
        "line 2: sentence_length_L is '٩'; expected a whole number of 1 or more",
    ),
    "key width": (changed(2, "quant_key_bit", "7"), f"line 2: quant_key_bit is '7'; expected {WIDTHS}"),
    "value width": (
        changed(2, "quant_value_bit", "16"),
        f"line 2: quant_value_bit is '16'; expected {WIDTHS}",
    ),
    "query width": (
        changed(2, "quant_query_bit", "0"),
        "line 2: quant_query_bit is '0'; expected -1 (not configured) or a whole number of 1 or more",
    ),
    "LSB width": (
        changed(5, "auto_requant_incre", "6"),
        "line 5: auto_requant_incre is '6'; expected one of -1, 4 (-1 is not configured)",
    ),
    "threshold": (
        changed(4, "auto_requant_thres", "1.5"),
        "line 4: auto_requant_thres is '1.5'; expected -1 (not configured) or a probability from 0 to 1",
    ),
    "threshold that is no number": (
        changed(4, "auto_requant_thres", "nan"),
        "line 4: auto_requant_thres is 'nan'; expected -1 (not configured) or a probability from 0 to 1",
    ),
    "flag": (changed(4, "if_requant", "yes"), "line 4: if_requant is 'yes'; expected True or False"),
    "more keys than tokens": (
        changed(2, "key_fetch_num", "10"),
        "line 2: key_fetch_num is '10'; expected at most sentence_length_L, which is 9",
    ),
    "more values than keys": (
        changed(4, "value_fetch_num", "9"),
        "line 4: value_fetch_num is '9'; expected at most key_fetch_num, which is 8",
    ),
    "top-k of nothing": (
        changed(3, "topk", "-1"),
        "line 3: topk is '-1'; expected 1 or more where if_topk is True",
    ),
    "first row missing": (
        without(2),
        "line 2: the first row is 'iteration 0, layer 0, head 1'; expected iteration 0, layer 0, head 0",
    ),
    "head missing": (
        without(5),
        "line 5: the row is 'iteration 1, layer 0, head 1'; expected iteration 0, layer 1, head 1 or "
        f"iteration 0, layer 2, head 0 or iteration 1, layer 0, head 0; {GAP}",
    ),
    "row doubled": (
        [*SMALL[:2], *SMALL[1:]],
        "line 3: the row is 'iteration 0, layer 0, head 0'; expected iteration 0, layer 0, head 1 or "
        f"iteration 0, layer 1, head 0 or iteration 1, layer 0, head 0; {GAP}",
    ),
    "layer skipped": (
        changed(4, "layer_id", "2"),
        "line 4: the row is 'iteration 0, layer 2, head 0'; expected iteration 0, layer 0, head 2 or "
        f"iteration 0, layer 1, head 0 or iteration 1, layer 0, head 0; {GAP}",
    ),
    "last layer missing": (
        without(7),
        "line 6: layers of iteration 1 are '1'; expected 2 as in iteration 0; "
        "lines are missing or the file is cut",
    ),
    "pruned head comes back": (
        [*SMALL[:4], SMALL[3].replace("0,1,0", "0,1,1"), SMALL[3].replace("0,1,0", "0,1,2"), *SMALL[4:]],
        "line 6: heads of layer 1 are '3'; "
        "expected at most 2 as in the layer before: a pruned head stays away",
    ),
    "last head and configuration missing": (
        [*SMALL[:4], SMALL[3].replace("0,1,0", "0,1,1"), *SMALL[4:-1]],
        "line 8: heads of the last layer are '1'; expected 2 as in the iteration before, or a last line that "
        "names a configuration; the file may be cut",
    ),
    "head dimension changes": (
        changed(3, "embedding_length_D", "32.0"),
        "line 3: embedding_length_D is '32'; expected 64 as in the rows before",
    ),
    "length changes": (
        changed(3, "sentence_length_L", "99"),
        "line 3: sentence_length_L is '99'; expected 9 as in the other rows of iteration 0",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_names_line_value_and_rule(name: str, tmp_path: Path) -> None:
    lines, message = FAULTS[name]
    path = written(tmp_path, lines)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert str(caught.value) == f"trace {str(path)!r}, {message}"
    assert message.startswith(f"line {caught.value.line}: ")
    assert message.endswith(f"; expected {caught.value.rule}")
    assert repr(caught.value.value[:79])[:-1] in message


@pytest.mark.parametrize("name", FAULTS)
def test_command_ends_with_1_and_the_message_on_stderr(name: str, tmp_path: Path) -> None:
    lines, message = FAULTS[name]
    path = written(tmp_path, lines)
    for arguments in (("trace", path), ("trace", path, "--json")):
        result = spatten(*arguments)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr == f"error: trace {str(path)!r}, {message}\n"


def test_every_cut_of_a_file_is_refused_or_told(tmp_path: Path) -> None:
    whole = "".join(f"{line}\n" for line in SMALL).encode()
    for size in range(len(whole) - len(CONFIG) - 1):
        result = spatten("trace", written(tmp_path, whole[:size]))
        assert result.exit_code == 1 or "is it whole?" in result.stderr, size


@pytest.mark.parametrize(
    ("name", "reason"), [("nowhere.csv", "No such file or directory"), (".", "Is a directory")]
)
def test_unreadable_path_is_named(name: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / name
    result = spatten("trace", path)
    assert result.exit_code == 1
    assert result.stderr == f"error: trace {str(path)!r} cannot be read: {reason}; expected {TEXT}\n"
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert (caught.value.line, caught.value.value) == (None, str(path))


# ------------------------------------------------------------------------------------------------ the command


def test_tables_of_a_small_trace(tmp_path: Path) -> None:
    result = spatten("trace", written(tmp_path, SMALL))
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "trace.csv · configs/hand-made.yml"
    for line in (
        "generated tokens 2",
        "rows that fetch LSBs of K 3 (50.0%)",
        "K MSB 3,968 47.0%",
        "K LSB 1,280 15.2%",
        "V 3,200 37.9%",
        "total 8,448 100.0%",
        "16 bit 19,456 2.30x",
        "32 bit 38,912 4.61x",
        "0 2.0 9.2 5.8 75.0% 7,168 1.36x 2.71x",
        "1 1.0 6.0 2.5 0.0% 1,280 7.60x 15.20x",
        "keys of -1, 10 or 12 bits are counted as 8 bits, LSBs fetched: 2 rows",
        "values of -1, 10 or 12 bits are counted as 8 bits: 3 rows",
    ):
        assert line in lines


def test_tables_fit_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    tables = spatten("trace", authors_trace(DENSE)).stdout.splitlines()[1:]
    assert max(map(len, tables)) <= 80
    assert not any("…" in line for line in tables)


def test_help_and_usage() -> None:
    shown = spatten("trace", "--help")
    assert shown.exit_code == 0
    assert "Examples" in shown.stdout
    assert "spatten trace gpt2-small-wikitext2-per8.csv --json" in shown.stdout
    assert spatten("trace").exit_code == 2


def test_debug_lets_the_error_through(tmp_path: Path) -> None:
    result = spatten("--debug", "trace", tmp_path / "nowhere.csv")
    assert isinstance(result.exception, TraceError)
    assert isinstance(result.exception, ValueError)
