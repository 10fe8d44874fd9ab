"""Lists as spreadsheets save them, and where each cell is."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.documents import table
from daemon.documents.fields import Findings
from daemon.errors import DocumentError

ROWS = [{"deviceId": "HD001", "city": "Köln"}, {"deviceId": "HD002", "city": ""}]


def read(data: str | bytes):
    """Return the rows as texts, and the faults."""
    findings = Findings("l.csv")
    found = table.read(data if isinstance(data, bytes) else data.encode(), findings)
    rows = [{name: cell.text for name, cell in row.items()} for row in found.rows]
    return rows, [str(fault) for fault in findings.faults]


@pytest.mark.parametrize(
    "text",
    [
        "deviceId,city\nHD001,Köln\nHD002,\n",
        "deviceId;city\r\nHD001;Köln\r\nHD002;\r\n",
        "\ufeffdeviceId;city\r\nHD001;Köln\r\nHD002;\r\n;\r\n;\r\n\r\n",
        "deviceId\tcity\nHD001\tKöln\nHD002",
        '"deviceId","city"\n"HD001","Köln"\n"HD002",""\n',
        "sep=;\r\ndeviceId;city\r\nHD001;Köln\r\nHD002;\r\n",
        '\ufeff"sep=;"\r\ndeviceId;city\r\nHD001;Köln\r\nHD002;\r\n',
        "deviceId;city;;\nHD001;Köln;;\nHD002;;;\n",
        "\n;;\ndeviceId;city\n\nHD001 ; Köln\n\n HD002\n \n",
        "deviceId;city\rHD001;Köln\rHD002;\r",
    ],
)
def test_every_export_reads_the_same(text):
    """Separators, quotation marks, byte order marks, line ends and empty rows do not matter."""
    assert read(text) == (ROWS, [])


def test_a_quoted_cell_holds_anything():
    """Separators and quotation marks inside it belong to the value."""
    rows, faults = read('deviceId;city\nHD001;"12 ""Main"" St; Apt 4"\n')

    assert rows[0]["city"] == '12 "Main" St; Apt 4'
    assert not faults


def test_every_cell_has_its_place():
    """Line and column lead to the first character of the value."""
    found = table.read('deviceId; city\n"a""b";"Köln"\n\nHD002\n'.encode(), Findings("l.csv"))
    places = [(cell.line, cell.column) for row in found.rows for cell in row.values()]

    assert places == [(2, 2), (2, 9), (4, 1), (4, 6)]
    assert [(one.line, one.column) for one in found.columns.values()] == [(1, 1), (1, 11)]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("deviceId,city\nHD001,Main St, Apt 4\n", "2:16", "no column name above it"),
        ("deviceId;deviceId\nHD001;HD002\n", "1:10", "there twice"),
        ('deviceId;city\nHD001;"Köln\n', "2:7", "never closed"),
        ('deviceId;city\nHD001;"Köln" am Rhein\n', "2:7", "its cell continues"),
        ('deviceId;city\nHD001;"Köln\nRhein"\n', "2:12", "line break"),
        ("deviceId;city\nHD001;K\u00a0n\n", "2:8", "NO-BREAK SPACE"),
        ("deviceId;city\nHD001;K\x07n\n", "2:8", "invisible"),
        ("", "1:1", "is empty"),
    ],
)
def test_a_fault_has_its_place(text, place, words):
    """What cannot be meant is reported, with what to do."""
    _, (fault,) = read(text)

    assert fault.startswith(f"l.csv:{place}: ")
    assert words in fault


def test_spaces_around_a_value_do_not_count():
    """Not even those that no one sees: a spreadsheet shows none of them."""
    assert read("deviceId;city\n HD001\u00a0; Köln \n")[0] == ROWS[:1]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("deviceId;city\nHD001;Köln\n".encode("cp1252"), "l.csv:2:8: byte 0xf6 is not UTF-8"),
        ("deviceId\tcity\n".encode("utf-16"), "looks like UTF-16"),
        (b"PK\x03\x04and so on", "is a spreadsheet's own file"),
    ],
)
def test_what_is_not_utf_8_is_refused(data, words):
    """The sentence says how to save it."""
    with pytest.raises(DocumentError) as caught:
        read(data)

    assert words in str(caught.value)
    assert "`CSV UTF-8 (Comma delimited)`" in str(caught.value)


def test_a_list_with_secrets_is_not_shown():
    """A fault in a line that may hold one has no source."""
    findings = Findings("l.csv")
    table.read(b"deviceId;pinCode\nHD001;4711;x\n", findings)

    assert [fault.source for fault in findings.faults] == [""]


@given(st.lists(st.lists(st.text("ab;,\"'\n ä", max_size=5), min_size=2, max_size=2)))
def test_quoted_values_come_back(rows):
    """Whatever is in a cell, it is read as the spreadsheet wrote it, without outer spaces."""
    quoted = [";".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    found, _ = read("\r\n".join(["a;b", *quoted]))

    assert [list(row.values()) for row in found] == [
        [cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)
    ]


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data):
    """Nothing but DocumentError comes of what is no list, and every row has all columns."""
    with suppress(DocumentError):
        rows, _ = read(b"deviceId;city\n" + data)
        assert all(list(row) == ["deviceId", "city"] for row in rows)
