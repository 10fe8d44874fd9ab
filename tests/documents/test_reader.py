"""What a text becomes, and what is said of one that is none."""

import time
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.documents import reader
from daemon.documents.text import MISLEADING, decode
from daemon.errors import DocumentError, Fault

LOADERS = [yaml.BaseLoader, getattr(yaml, "CBaseLoader", yaml.BaseLoader)]
QUOTE = "write the value in double quotes"


def faults_of(text: str | bytes, **options: bool) -> tuple[Fault, ...]:
    """The faults of a text that must have some."""
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(DocumentError) as caught:
        reader.read(data, "a.yml", **options)
    return caught.value.faults


def places(faults: tuple[Fault, ...]) -> list[tuple[int, int, str]]:
    """Where the faults are."""
    return [(fault.line, fault.column, fault.key) for fault in faults]


@pytest.fixture(params=LOADERS, ids=["python", "libyaml"], autouse=True)
def _each_loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_LOADER", request.param)


def test_every_scalar_is_its_text() -> None:
    """What YAML 1.1 takes for numbers, dates and truths stays as written."""
    text = "a: 02142\nb: NO\nc: 12:30\nd: 2010-06-01\ne: 1_000\nf: ~\ng:\nh: http://x/y\n"

    read = reader.read(text.encode(), "a.yml").plain()

    assert read == {
        "a": "02142", "b": "NO", "c": "12:30", "d": "2010-06-01", "e": "1_000", "f": "~", "g": "",
        "h": "http://x/y",
    }  # fmt: skip


def test_positions_are_the_editors() -> None:
    """Lines and columns count from 1 and by characters, whatever the line ends and their bytes."""
    data = "\ufeffä: 1\r\n'💾': {b: ü, c: [x, y]}\r\n".encode()

    root = reader.read(data, "a.yml")

    assert [(key.text, key.line, key.column) for key, _ in root.entries] == [
        ("ä", 1, 1),
        ("💾", 2, 1),
    ]
    group = root.entries[1][1]
    assert isinstance(group, reader.Mapping)
    texts = group.entries[1][1]
    assert isinstance(texts, reader.Sequence)
    assert [(item.line, item.column) for item in texts.items] == [(2, 17), (2, 20)]


@pytest.mark.parametrize(
    ("text", "line", "column", "key", "words"),
    [
        ("a: b: c\n", 1, 5, "a", QUOTE),
        ("a: @x\n", 1, 4, "a", QUOTE),
        ("a: `x\n", 1, 4, "a", QUOTE),
        ("a: %x\n", 1, 4, "a", QUOTE),
        ("a: *x\n", 1, 4, "a", QUOTE),
        ("a: *x y\n", 1, 4, "a", QUOTE),
        ("a: &x y\n", 1, 4, "a", QUOTE),
        ("a: !x y\n", 1, 4, "a", QUOTE),
        ("a: !!str y\n", 1, 4, "a", QUOTE),
        ("a: {b: !!int 1}\n", 1, 8, "a.b", QUOTE),
        ("a: ]\n", 1, 4, "a", QUOTE),
        ("a: - b\n", 1, 4, "a", QUOTE),
        ("a: [x] y\n", 1, 8, "a", QUOTE),
        ("a: [x\nb: c\n", 1, 4, "a[1]", "close it"),
        ("a: {x\nb: c\n", 1, 4, "a", "close it"),
        ("a:\n\tb: c\n", 2, 1, "a", "indent with spaces only"),
        ("\ta: c\n", 1, 1, "", "indent with spaces only"),
        ('a: 1\nb: "x\nc: d\n', 2, 4, "b", "never closed"),
        ("a: 'it's'\n", 1, 8, "a", "write each ' twice"),
        ("a: 1\nb\nc: d\n", 2, 1, "", "a space after the colon"),
        ("a: 1\nb:2\nc: d\n", 2, 1, "", "a space after the colon"),
        ("a: 1\n  b: 2\n", 2, 4, "", "same column"),
        ("a:\n  b: 1\n c: 2\n", 3, 2, "", "same column"),
        ("a: b\n---\nc: d\n", 2, 1, "", "second document"),
        ("? [a]\n: b\n", 1, 3, "", "a key must be a text"),
        ("", 1, 1, "", "is empty"),
        ("# nothing\n", 1, 1, "", "is empty"),
        ("---\n", 1, 1, "", "is empty"),
        ("- a\n", 1, 1, "", "no `key: value` lines"),
        ("manifest of Jo\n", 1, 1, "", "no `key: value` lines"),
        ('a: "x\\0"\n', 1, 4, "a", "U+0000"),
        ("a: x\x00\n", 1, 5, "", "U+0000"),
        ("a: b\nc: x\x1b[2J\n", 2, 5, "", "U+001B"),
        ("a: x\u2028b: y\n", 1, 5, "", "U+2028"),
    ],
)
def test_fault_has_place_and_remedy(
    text: str, line: int, column: int, key: str, words: str
) -> None:
    """What is no YAML, or more than plain YAML, is told with its place and what to write."""
    faults = faults_of(text)

    assert places(faults) == [(line, column, key)]
    assert words in str(faults[0])


def test_escape_in_double_quotes_is_explained() -> None:
    """A Windows path in double quotes is no riddle."""
    (fault,) = faults_of('a: "C:\\data"\n')

    assert "single quotes" in fault.remedy
    assert fault.line == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("a: b\n".encode("utf-16"), "UTF-16"),
        ("a: b\n".encode("utf-16-le"), "UTF-16"),
        (b"a: b\nc: caf\xe9\n", "0xe9 is not UTF-8"),
        (b"a: b\n" * 13_108, "larger than the limit of 65536 bytes"),
    ],
)
def test_what_is_no_text_is_refused(data: bytes, words: str) -> None:
    """Another encoding, or something far too long, is named as such."""
    assert words in str(faults_of(data)[0])


def test_bad_byte_has_its_place() -> None:
    """The byte that is no UTF-8 is shown by line and column."""
    assert places(faults_of(b"\xef\xbb\xbfa: b\r\nc: \xc3\xa4\xe9\n")) == [(2, 5, "")]


def test_all_duplicates_are_told_at_once() -> None:
    """Each key that comes again is a fault, at every depth, in the order of the text."""
    text = "a: 1\nb: {x: 1, x: 2}\na: 2\nc:\n  - y: 1\n    y: 2\na: 3\n"

    faults = faults_of(text)

    assert places(faults) == [(2, 11, "b.x"), (3, 1, "a"), (6, 5, "c[0].y"), (7, 1, "a")]
    assert "line 1" in faults[1].problem


def test_faults_before_an_error_of_syntax_are_kept() -> None:
    """The error of syntax comes after all that was found before it."""
    faults = faults_of("a: 1\na: 2\nb: !x 3\nc: @\n")

    assert places(faults) == [(2, 1, "a"), (3, 4, "b"), (4, 4, "c")]


@pytest.mark.parametrize(
    "text",
    ["[" * 20_000, "- " * 20_000, "{a: " * 15_000, "? " * 20_000, "a: " + "[" * 20_000 + "]"],
)
def test_deep_nesting_is_refused_at_once(text: str) -> None:
    """A text that nests 20,000 deep costs no time and breaks nothing."""
    started = time.process_time()

    (fault,) = faults_of(text)

    assert "deep" in fault.problem
    assert time.process_time() - started < 1


def test_secret_is_never_shown() -> None:
    """Neither the error, its faults nor the nodes show the value of a secret key."""
    texts = (
        "trueCryptPassword: @hunter2\n",
        'trueCryptPassword: "hunter2\n',
        'trueCryptPassword: "x\n hunter2" y\n',
        "pinCode: !hunter2 x\n",
        "a: {secret_access_key: [hunter2\n",
        "trueCryptPassword: |\n  x\n\thunter2\n",
        "endpoint: *https://jo:hunter2@example.com\n",
    )
    for text in texts:
        with pytest.raises(DocumentError) as caught:
            reader.read(text.encode(), "a.yml")
        told = [fault.excerpt() + repr(fault) for fault in caught.value.faults]
        assert "hunter2" not in f"{caught.value!r}{told}", text

    assert "hunter2" not in repr(reader.read(b"pinCode: hunter2\n", "a.yml"))


def test_excerpt_points_at_the_column_of_the_file() -> None:
    """In the guide's spelling too, line and caret are those of the file as it lies there."""
    (fault,) = faults_of("deviceId:HD001\nnote:@x\n", guide_spelling=True)

    assert (fault.source, fault.column) == ("note:@x", 6)
    assert fault.excerpt().endswith("    2 | note:@x\n             ^")


def test_guide_spelling_and_blanks_mix() -> None:
    """A key needs no blank after its colon; values with colons stay whole."""
    text = (
        "manifestVersion:2.0\naccessKeyId: A\ntime:12:30\nlink:http://x/y:z\nlist:\n"
        "  - exportBucket:b\n    prefix: c\n  - http://example.com\ngroup:\n    name:Your Name\n"
        "    town: {zip:a, b: c}\n"
    )

    read = reader.read(text.encode(), "a.yml", guide_spelling=True).plain()

    assert read == {
        "manifestVersion": "2.0",
        "accessKeyId": "A",
        "time": "12:30",
        "link": "http://x/y:z",
        "list": [{"exportBucket": "b", "prefix": "c"}, "http://example.com"],
        "group": {"name": "Your Name", "town": {"zip:a": "", "b": "c"}},
    }


def test_guide_spelling_keeps_texts_of_several_lines() -> None:
    """Lines that only look like keys, in block scalars and quoted or plain texts, stay whole."""
    text = (
        'deviceId:HD001\nblock: |\n  key:value\n  more:"x"\nfolded: >-\n  key:value\n'
        "double: \"a\n  key:value\n  end:x\"\nsingle:'a\n  key:it''s'\nlogBucket:b\n"
    )
    read = reader.read(text.encode(), "a.yml", guide_spelling=True).plain()

    assert read == {
        "deviceId": "HD001",
        "block": 'key:value\nmore:"x"\n',
        "folded": "key:value",
        "double": "a key:value end:x",
        "single": "a key:it's",
        "logBucket": "b",
    }
    plain = b"note: see\n  also:this\nb: c\n"
    assert reader.read(plain, "a.yml", guide_spelling=True).plain() == {
        "note": "see also:this",
        "b": "c",
    }


def test_guide_spelling_does_not_hide_a_second_colon() -> None:
    """`company:ATTN: Joe` is a fault in its column, not a key named company:ATTN."""
    faults = faults_of("deviceId: HD001\ncompany:ATTN: Joe\n", guide_spelling=True)

    assert places(faults) == [(2, 13, "company")]


def test_guide_spelling_is_off_unless_asked_for() -> None:
    """config.yml is plain YAML."""
    assert "a space after the colon" in str(faults_of("a: b\nendpoint:x\nc: d\n")[0])


def test_comment_that_cuts_a_value_is_kept() -> None:
    """What YAML drops behind a plain text is at hand for a warning."""
    root = reader.read(b"a: #12 Main\nb: x #y\nc: 'x' # why\nd: x#y\n", "a.yml")

    comments = [value.comment for _, value in root.entries if isinstance(value, reader.Scalar)]
    assert comments == ["#12 Main", "#y", "", ""]


@given(st.binary(max_size=400))
@example(b"\xff\xfe")
@example(b'a: "\\UFFFFFFFF"')
@example(b"a: !%FF x")
@example(b"%YAML 1.99999999999999999999\n---\na: b")
@example(b"a: >9\n x")
def test_any_bytes_give_a_mapping_or_a_document_error(data: bytes) -> None:
    """Whatever is dropped, nothing but DocumentError is raised, and it has a fault."""
    both_parsers_agree(data)


YAML_LIKE = st.lists(
    st.sampled_from([*"ab:-?,[]{}&*!|>'\"%@`# \n\t\r", "\n  ", ": ", "- ", "key:x", "\n", "--- "]),
    max_size=30,
).map("".join)


@given(YAML_LIKE)
def test_any_yaml_like_text_gives_a_mapping_or_a_document_error(text: str) -> None:
    """The same for what is nearly YAML, by which the parsers' corners are reached."""
    both_parsers_agree(text.encode())


def both_parsers_agree(data: bytes) -> None:
    """Read with both parsers, in both spellings; compare what is read."""
    for guide_spelling in (False, True):
        results = []
        for loader in LOADERS:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(reader, "_LOADER", loader)
                results.append(outcome(data, guide_spelling=guide_spelling))
        if all(result is not None for result in results):
            assert results[0] == results[1]


def outcome(data: bytes, *, guide_spelling: bool) -> reader.Mapping | None:
    """The nodes, or None where the text is refused with faults within it."""
    lines = data.count(b"\n") + data.count(b"\r") + 1
    try:
        return reader.read(data, "a.yml", guide_spelling=guide_spelling)
    except DocumentError as error:
        faults = error.faults
    assert faults
    assert all(1 <= fault.line <= lines and fault.column >= 1 for fault in faults)
    return None


WORDS = st.text(
    st.characters(
        exclude_categories=("Cc", "Cs"), exclude_characters="\ufeff\u2028\u2029\ufffe\uffff"
    ).filter(lambda character: not MISLEADING.match(character)),
    min_size=1,
    max_size=20,
)


@given(st.dictionaries(WORDS, WORDS | st.lists(WORDS, max_size=3), min_size=1, max_size=5))
def test_quoted_texts_read_back_exactly(value: dict[str, str | list[str]]) -> None:
    """Any characters that can be seen survive, in single and in double quotes."""
    for style in ("'", '"'):
        text = yaml.safe_dump(value, allow_unicode=True, default_style=style, width=40)
        untagged = text.replace("!!null ", "")
        assert reader.read(untagged.encode(), "a.yml", guide_spelling=True).plain() == value


def test_text_past_its_end_is_shown_at_its_end() -> None:
    """YAML's mark behind the last line is led back to it."""
    text = decode(b"a: b", "a.yml")

    assert text.place(SimpleNamespace(line=7, column=0)) == (1, 5, "a: b")
