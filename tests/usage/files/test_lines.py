"""Files are cut into lines, whatever they hold; what cannot be read is refused alone."""

from __future__ import annotations

import gzip
import secrets
import tracemalloc
from io import BytesIO

import pytest

from billtrack.usage.files import packed
from billtrack.usage.files.columns import Columns, InvalidLine, harmless, plain, to_input
from billtrack.usage.files.lines import CsvFile, Line, UnreadableFile
from billtrack.usage.files.packed import unpacked

HEADER = b"user_id,event,quantity,occurred_at\n"


def read(content: bytes) -> list[Line]:
    return list(CsvFile(BytesIO(content)).lines())


def problems(content: bytes) -> dict[int, bool]:
    """Return for the number of each line whether it was refused."""
    return {line.number: line.problem is not None for line in read(content)}


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\n\n", b"\xef\xbb\xbf\r\n"])
@pytest.mark.parametrize("delimiter", [b",", b";", b"\t"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_it_reads_what_spreadsheets_write(start: bytes, delimiter: bytes, end: bytes) -> None:
    rows = (b"user_id|event|metadata", b'1|api_calls|"{""a"":1}"', b'2|"cpu|time"|"a\nb"', b"3||")
    file = CsvFile(BytesIO(start + end.join(rows).replace(b"|", delimiter)))
    assert file.header == ["user_id", "event", "metadata"]
    cut = delimiter.decode()
    assert [line.cells for line in file.lines()] == [
        ["1", "api_calls", '{"a":1}'],
        ["2", f"cpu{cut}time", "a\nb"],
        ["3", "", ""],
    ]


def test_it_leaves_out_lines_without_text_and_counts_them() -> None:
    assert [line.number for line in read(HEADER + b"\n1,a,1,x\n,,,\n  \r\n2,b,2,y")] == [3, 6]


def test_it_numbers_lines_after_line_breaks_in_cells() -> None:
    assert [line.number for line in read(HEADER + b'"1\n\n",a,1,x\n2,b,2,y\n')] == [2, 5]


@pytest.mark.parametrize(
    "bad",
    [
        b'1,"a,1,x',  # nobody closes it
        b'1,"a"b,1,x',
        b"1,a\0b,1,x",
        b"1,M\xfcller,1,x",
        b"1," + b"a" * 20_000 + b",1,x",
        b"1," + b"\xff" * 200_000,
    ],
)
def test_it_refuses_a_bad_line_alone(bad: bytes) -> None:
    assert problems(HEADER + b"1,a,1,x\n" + bad + b"\n2,b,2,y\n3,c,3,z") == {
        2: False,
        3: True,
        4: False,
        5: False,
    }


def test_it_gives_back_many_lines_after_an_open_quotation() -> None:
    rows = b"".join(b"%d,api_calls,1,x\n" % number for number in range(3000))
    found = problems(HEADER + b'"open,api_calls,1,x\n' + rows)
    assert (len(found), sum(found.values())) == (3001, 1)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"\n \n;;\n", "empty"),
        ("user_id,event\n".encode("utf-16"), "UTF-8"),
        ("user_id,event\n".encode("utf-16-be"), "UTF-8"),
        ("Müller,event\n".encode("latin-1"), "UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "UTF-8"),
        (b"PK\x03\x04\x14\0\x06\0", "UTF-8"),
        (b"a" * 10_000_000, "longer"),
        (b'"user_id,event\n1,2\n', "quotation"),
    ],
)
def test_it_refuses_a_file_without_a_header_that_can_be_read(content: bytes, word: str) -> None:
    with pytest.raises(UnreadableFile, match=word):
        read(content)


@pytest.mark.parametrize(
    ("header", "word"),
    [
        ("user_id,event,quantity,occurred_at,event", "twice"),
        ("user_id,user,event,quantity,occurred_at", "one column user_id"),
        ("event,quantity,occurred_at", "one column user_id"),
        ("user_id,event,quantity", "occurred_at is missing"),
        ("user_id,event,quantity,occurred_at,colour", "no column 'colour'"),
        ("user_id,event,quantity,occurred_at,", "no column ''"),
        ("user_id,event,quantity,occurred_at,metadata,metadata.a", "either"),
        ("user_id,event,quantity,occurred_at,metadata.", "no column 'metadata.'"),
    ],
)
def test_it_refuses_columns_that_are_no_usage(header: str, word: str) -> None:
    with pytest.raises(UnreadableFile, match=word):
        Columns(header.split(","))


def test_it_takes_columns_in_any_order_and_case() -> None:
    columns = Columns([" Quantity", "EVENT", "line", "reason", "occurred_at", "User"])
    said = columns.values(["1", " api_calls ", "7", "why", "", "a@b.example"])
    assert said == {"quantity": "1", "event": "api_calls", "user": "a@b.example"}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "'=1", "''=1", "'a", "a=b", "", "'"])
def test_it_takes_off_the_apostrophe_that_it_put_before_a_formula(text: str) -> None:
    cell = harmless(text)
    assert not cell.startswith(("=", "+", "-", "@"))
    assert plain(cell) == text


def test_it_holds_one_line_of_a_large_file() -> None:
    content = HEADER + b"x" * 30_000_000 + b"\n" + b'"' * 1_000_001 + b"\n1,a,1,x"
    file = BytesIO(content)
    tracemalloc.start()
    try:
        found = [line.number for line in CsvFile(file).lines() if not line.problem]
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert found == [4]


def test_it_unpacks_as_it_reads_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    content = HEADER + b"1,api_calls,1,x\n" * 100_000
    assert b"".join(unpacked(BytesIO(gzip.compress(content)))) == content
    monkeypatch.setattr(packed, "MAX_UNPACKED", len(content) - 1)
    with pytest.raises(UnreadableFile, match="larger than"):
        list(CsvFile(unpacked(BytesIO(gzip.compress(content)))).lines())
    assert b"".join(unpacked(BytesIO(content))) == content


@pytest.mark.parametrize("cut", [slice(0, 40), slice(0, -9), slice(12, None)])
def test_it_says_so_when_a_packed_file_is_damaged(cut: slice) -> None:
    whole = gzip.compress(HEADER + secrets.token_bytes(9000))
    with pytest.raises(UnreadableFile):
        list(unpacked(BytesIO(whole[:2] + whole[cut][2:])))


@pytest.mark.parametrize("number", ["007", "+7", "7.0", "0", "٧"])
def test_the_number_of_a_user_is_taken_only_as_it_is_shown(number: str) -> None:
    line = {"event": "api_calls", "quantity": "05", "occurred_at": "2026-10-05T14:30:00Z"}
    with pytest.raises(InvalidLine, match="digits only"):
        to_input({**line, "user_id": number}, user_ids={})
    found = to_input({**line, "user_id": "7"}, user_ids={})
    assert (found.user_id, found.quantity) == (7, 5)
