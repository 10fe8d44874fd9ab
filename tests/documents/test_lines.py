"""Texts of lines `key: value` are read without YAML's parser, and exactly as it reads them."""

import random
from unittest.mock import patch

import pytest

from daemon.documents import lines, reader
from daemon.documents.nodes import Scalar, walk
from daemon.documents.text import decode
from daemon.errors import DocumentError

YAML = b"""\
# a comment
manifestVersion: 2.0
deviceId: HD001
fileSystem: 'NTFS'

pinCode: 1234
operations:
  - exportBucket: bucket
    prefix: "a b"
  - exportBucket: other
returnAddress:
  name: Ann Bell (2nd floor)
  city: "Z\xc3\xbcrich"
  street1: \xc5\x81\xc3\xb3d\xc5\xba 5, \xe6\x9d\xb1\xe4\xba\xac
"""
GUIDE = b"""\
manifestVersion:2.0
deviceId:HD001
operations:
  - exportBucket:mybucket
returnAddress:
    name:Your Name
    postalCode:Your Postal/Zip Code
"""
SCRAPS = (
    *"#:-'\"|>[{&*!?,%@`~\t\r\n ",
    *(
        ": ",
        "//",
        "- ",
        "\n- ",
        "\n  - ",
        "\n  ",
        "\n    ",
        "\n# c\n",
        " # c",
        "''",
        "x: y",
        "aa:\n",
    ),
    *("bb:x", "\n---\n", "\n...\n", "{a: b}", "\xe9", "\\", "deviceId: HD002\n"),
)


def nodes(root):
    """Everything that is known of each node, also what is not compared."""
    return [
        (path, *((one.line, one.column, one.source, one) for one in (key, value) if one))
        + tuple(one.end for one in (key, value) if isinstance(one, Scalar))
        for path, key, value in [("", None, root), *walk(root)]
    ]


def changed(text: str, chance: random.Random) -> str:
    """Return the text with a scrap put in, some characters cut out, or two lines exchanged."""
    place = chance.randrange(len(text) + 1)
    match chance.randrange(3):
        case 0:
            return text[:place] + chance.choice(SCRAPS) + text[place:]
        case 1:
            return text[:place] + text[place + chance.randrange(12) :]
    rows = text.split("\n")
    one, other = chance.randrange(len(rows)), chance.randrange(len(rows))
    rows[one], rows[other] = rows[other], rows[one]
    return "\n".join(rows)


@pytest.mark.parametrize("data", [YAML, GUIDE, YAML.replace(b"\n", b"\r\n")])
def test_a_manifest_needs_no_parser(data):
    """Neither in YAML nor in the guide's spelling: its nodes are those that the parser gives."""
    root = lines.read(decode(data, "m.yml"))

    with patch.object(lines, "read", return_value=None):
        assert nodes(root) == nodes(reader.read(data, "m.yml", guide_spelling=True))


@pytest.mark.parametrize("seed", range(8))
def test_what_is_read_without_the_parser_is_read_alike(seed):
    """Whatever is changed in a text: either the parser gives the same nodes, or it is asked."""
    chance, alike = random.Random(seed), 0
    for _ in range(400):
        text = chance.choice((YAML, GUIDE)).decode()
        for _ in range(chance.randint(1, 3)):
            text = changed(text, chance)
        try:
            root = lines.read(decode(text.encode(), "m.yml"))
        except DocumentError:
            continue
        if root:
            with patch.object(lines, "read", return_value=None):
                parsed = reader.read(text.encode(), "m.yml", guide_spelling=True)
            assert nodes(root) == nodes(parsed), text
            alike += 1

    assert alike > 20


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment",
        "aa: b # c",
        "aa: b\n  c",
        "aa:",
        "aa:\nbb: c",
        "aa: |\n  b",
        "aa: {b: c}",
        "aa: &b c",
        "aa: 'it''s'",
        'aa: "\\n"',
        "aa: b: c",
        "aa: b\naa: c",
        "  aa: b\ncc: d",
        "aa:\n    bb: c\n  dd: e",
        "aa:\n- bb: c",
        "- aa: b",
        "aa: b\n  - cc: d",
        "aa: http://b",
        "".join(f"{' ' * depth}aa:\n" for depth in range(30)) + f"{' ' * 30}aa: b",
    ],
)
def test_all_else_is_left_to_the_parser(text):
    """What is not plain enough, and what is wrong."""
    assert lines.read(decode(text.encode(), "m.yml")) is None
