import codecs
from pathlib import Path

import pytest

from data import DataError
from data.tables import (
    Table,
    find_columns,
    read_header,
    read_table,
)


def read(path: Path, content: str | bytes) -> Table:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "x.csv"


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
@pytest.mark.parametrize("line_ending", ["\n", "\r\n", "\r"])
def test_a_table_is_read_as_stripped_text(path, separator, line_ending):
    lines = (separator.join(row) for row in (("a", " b"), (" 1 ", ""), ("x", "é")))
    table = read(path, line_ending.join(lines).encode("utf-8-sig"))
    assert (table.column("a"), table.column("b")) == (["1", "x"], ["", "é"])


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,é\n".encode("utf-16"),
        codecs.BOM_UTF16_BE + "a,b\n1,é\n".encode("utf-16-be"),
        "a,b\n1,é\n".encode("utf-32"),
        "sep=;\r\na;b\r\n1;é\r\n".encode(),
        '"sep=|"\na|b\n1|é\n'.encode(),
        '\n,,\na,"b",\n,,,\n1,é,,,,\n\n,\n'.encode(),
        'a;"b";"c, d, e"\n1;é;\n'.encode(),
    ],
    ids=["UTF-16", "big-endian", "UTF-32", "sep=;", "quoted sep", "empty rows", "quoted commas"],
)
def test_tables_as_spreadsheets_export_them_are_read(path, content):
    table = read(path, content)
    assert (table.column("a"), table.column("b")) == (["1"], ["é"])
    assert [name.strip('"') for name in read_header(path)[:2]] == ["a", "b"]


def test_lines_are_those_of_the_file(path):
    table = read(path, 'sep=,\n\na,b\n\n1,"x\ny"\n\n2,z\n')
    assert table.lines == [5, 8]
    with pytest.raises(DataError, match="received 3 in line 7; put values"):
        read(path, 'a,b\n\n1,"x\ny"\n\n\n2,z,3\n')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"image_id,site\nISIC_9,R\xfccken\n", "received the byte 0xfc in line 2; save the table"),
        (b"a,b\n1,2,3\n", "expected 2 values in each row, received 3 in line 2"),
        ("a,b\n1,2\n".encode("utf-16-le"), "received a NUL byte in line 1, as in UTF-16"),
        (b'a,b\n1,2\n"3,4\n', "cannot be read as a table: .* begins in line 3; correct"),
        (b'a,b\n"' + b"x" * 200_000 + b'",2\n', "larger than field limit .* in line 2"),
        (b"PK\x03\x04\x14", "an Excel workbook; unpack it, or save it as CSV"),
        (b"version https://git-lfs.github.com/spec/v1\nsize 9\n", "fetch the file with git lfs"),
        (b"<!DOCTYPE html>\n", "received a web page; download the file itself"),
        (b"", "expected column names in line 1, received none"),
        (b"a,b\n,\n\n", "expected one row per image, received none"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(path, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read(path, content)
    assert "\n" not in str(caught.value)


def test_a_column_is_found_by_its_exact_name_before_similar_ones(path):
    header = [" dx", "dx", "DX", "Image ID"]
    assert find_columns(header, "dx") == [1]
    assert find_columns(header, "image_id") == [3]
    assert find_columns(header, "Dx") == [0, 1, 2]
    assert read(path, "dx, dx,label\n1,2,3\n").column("dx") == ["1"]


def test_two_columns_of_one_name_have_to_be_equal(path):
    assert read(path, "dx,dx\n1,1\n").column("dx") == ["1"]
    with pytest.raises(DataError, match="expected one column dx, received 2 with different"):
        read(path, "dx,dx\n1,2\n").column("dx")
    with pytest.raises(DataError, match="expected one column dx, received 2 with different"):
        read(path, " dx,DX\n1,2\n").column("dx")


@pytest.mark.parametrize("value", ["NA", "nan", "NaN", "NULL", "-", "<NA>", "#N/A", "None", "N/A"])
def test_missing_values_of_r_and_pandas_are_empty(path, value):
    assert read(path, f"a,b\n1,{value}\n").column("b") == [""]


def test_values_that_only_look_missing_are_kept(path):
    assert read(path, "a\nunknown\nnape\n0\nnone of these\n").column("a") == [
        "unknown",
        "nape",
        "0",
        "none of these",
    ]
