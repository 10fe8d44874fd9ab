"""New values in a text that otherwise stays as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.documents import reader
from daemon.documents.editing import Original
from daemon.errors import DocumentError

TEXT = """\
\ufeffdeviceId:[WD-0001]  # the label on the drive\r
name:***Your Name***
city: 'it''s'   # a comment
state: "a
  b" # another
country:
  plain text
  on two lines
empty:
none: # a comment
flow: {one: , two: "2"}
list:
  - exportBucket: my-bucket
    prefix: a#b
"""
PATHS = [
    "deviceId", "name", "city", "state", "country", "empty", "none", "flow.one", "flow.two",
    "list[0].exportBucket", "list[0].prefix",
]  # fmt: skip


def original(text=TEXT):
    """Return the text, ready for new values."""
    return Original(text.encode(), "t.yml")


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("deviceId", "HD001", "deviceId:HD001  # the label on the drive\r"),
        ("deviceId", "007", 'deviceId:"007"  # the label on the drive\r'),
        ("name", "O'Neil: x", 'name:"O\'Neil: x"'),
        ("city", "L'A", "city: 'L''A'   # a comment"),
        ("state", 'a "b" \\', 'state: "a \\"b\\" \\\\" # another'),
        ("country", "NO", '  "NO"'),
        ("empty", "x", "empty: x"),
        ("none", "x", "none: x # a comment"),
        ("flow.one", "a, b", 'flow: {one: "a, b", two: "2"}'),
        ("list[0].prefix", "c#d", '    prefix: "c#d"'),
        ("list[0].exportBucket", "other-bucket", "  - exportBucket: other-bucket"),
    ],
)
def test_a_value_keeps_the_spelling_around_it(path, value, line):
    """Quotation marks stay; where there are none, a value that needs them gets some."""
    assert line in original().replaced({path: value}).text.lstrip("\ufeff").split("\n")


@given(
    st.dictionaries(
        st.sampled_from(PATHS),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1),
    )
)
def test_only_the_values_change(values):
    """Each new value is read back, every other one is as it was, and so is all between them."""
    values = {path: text.strip() for path, text in values.items() if text.strip()}
    before = original()
    edited = before.replaced(values)
    after = original(edited.text)
    rest = edited.text
    for edit in reversed(edited.edits):
        kept = sum(
            len(one.written) - (one.end - one.start)
            for one in edited.edits
            if one.start < edit.start
        )
        start = edit.start + kept
        rest = rest[:start] + before.text[edit.start : edit.end] + rest[start + len(edit.written) :]

    assert rest == before.text
    for path in PATHS:
        want = values.get(path, before.entries[path].value.plain())
        if path in values or path not in {"deviceId", "name"}:
            assert after.entries[path].value.plain() == want


def test_places_lead_back_to_the_text_before():
    """A place after new values of other lengths, and one within a new value."""
    text = "a: {b1: x, c1: y}\nd1: '1\n 2'\ne1: z\n"
    before = original(text)
    edited = before.replaced({"a.b1": "longer", "d1": "s"})

    assert edited.text == "a: {b1: longer, c1: y}\nd1: 's'\ne1: z\n"
    assert edited.before(1, 10) == (1, 9)  # in `longer`: the start of x
    assert edited.before(1, 21) == (1, 16)  # y
    assert edited.before(3, 5) == (4, 5)  # z
    assert before.path_at(4, 5) == "e1"


@pytest.mark.parametrize(
    "text", ["a1: |\n  b\n", "a1: >-\n  b\n", "a1:\n  b1: c\n", "a1: [b, c]\n"]
)
def test_what_is_no_text_on_its_line(text):
    """Blocks, groups and lists have no value that one cell could replace."""
    assert not original(text).is_text("a1")


@pytest.mark.parametrize("text", ["a1: 'b\n", "a1: &b c\n", "- a\n", "\xff"])
def test_a_text_that_is_not_yaml(text):
    """A template's placeholders are allowed, other faults are not."""
    with pytest.raises(DocumentError) as caught:
        Original(text.encode("latin-1"), "t.yml")

    assert caught.value.faults[0].file == "t.yml"


def test_a_placeholder_that_is_yaml_stays_a_value():
    """Only what would make the text another one is replaced by a plain word of that length."""
    before = original("a1: <id>\nb1: {id}\nc1: '***x***'\nd1: ***x*** # y\n")

    assert before.placeholders == {"b1", "d1"}
    assert reader.read(before.replaced({"b1": "1", "d1": "2"}).text.encode(), "").plain() == {
        "a1": "<id>",
        "b1": "1",
        "c1": "***x***",
        "d1": "2",
    }
