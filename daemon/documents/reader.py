"""YAML with positions: a text becomes nodes in which every scalar is text, or it is refused.

Which keys there are, and what they mean, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import yaml

from daemon.documents import lines, syntax
from daemon.documents.nodes import Mapping, Node, Scalar, Sequence
from daemon.documents.redaction import dotted
from daemon.documents.text import START, UNPRINTABLE, Mark, Text, decode, refusal
from daemon.errors import Fault

MAX_FAULTS = 100  # no one reads more of them

# libyaml where it is present, which is much faster. Nodes and positions are the same.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read(data: bytes, name: str, *, guide_spelling: bool = False) -> Mapping:
    """Return the one mapping in `data`; faults call the file `name`.

    With `guide_spelling` a key needs no space after its colon (`deviceId:HD001`), as in AWS's
    guide. Raises DocumentError with all faults, up to the first syntax error.
    """
    text = decode(data, name)
    if guide_spelling and (root := lines.read(text)):
        return root
    reading = _read_guide(text) if guide_spelling else _Reading.of(text)
    if isinstance(reading.root, Mapping) and not reading.faults:
        return reading.root
    raise refusal(reading.faults)


def _read_guide(text: Text) -> _Reading:
    """Keep an inserted space only where it made a key, not within quotes or block scalars."""
    wanted = text.guide_keys()
    reading = _Reading.of(text.with_spaces(wanted))
    if reading.is_broken:  # unless a text continues on a line that only looks like a key
        as_written = _Reading.of(text)
        has_guide_keys = any(line in wanted for line, _ in as_written.key_ends)
        return reading if as_written.faults or has_guide_keys else as_written
    made = {line: column for line, column in wanted.items() if (line, column) in reading.key_ends}
    return reading if made == wanted else _Reading.of(text.with_spaces(made))


@dataclass(slots=True)
class _Open:
    """A mapping or a list that has not ended yet."""

    path: str
    is_mapping: bool
    mark: Mark
    items: list[Node] = field(default_factory=list)
    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)
    key: Scalar | None = None  # it waits for its value

    def path_of_next(self) -> str:
        """Return the dotted key of the next node."""
        if not self.is_mapping:
            return f"{self.path}[{len(self.items)}]"
        return dotted(self.path, self.key.text) if self.key else self.path

    def last_key(self) -> Scalar | None:
        """Return the key of the entry before, unless a key waits for its value."""
        entries = tuple(self.entries.values())
        return entries[-1][0] if entries and self.key is None else None

    def closed(self, place: tuple[int, int, str]) -> Node:
        """Return the finished node."""
        if self.is_mapping:
            return Mapping(tuple(self.entries.values()), *place)
        return Sequence(tuple(self.items), *place)


class _Reading:
    """One walk over YAML's events. It nests in a list, not in calls: the depth is limited."""

    def __init__(self, text: Text) -> None:
        self.root: Node | None = None
        self.faults: list[Fault] = []
        self.is_broken = False  # by a syntax error
        self.key_ends: set[tuple[int, int]] = set()  # of plain keys in the copy, colon included
        self._text = text
        self._open: list[_Open] = []

    @classmethod
    def of(cls, text: Text) -> _Reading:
        """Read a whole text."""
        reading = cls(text)
        reading.run()
        return reading

    def run(self) -> None:
        """Walk over all events. Faults are collected, not raised."""
        try:
            self._walk()
        except yaml.MarkedYAMLError as error:
            self.is_broken = True
            self._report_syntax(error)
        except (ValueError, OverflowError):  # chr() in PyYAML's own parser: "\UFFFFFFFF"
            self.is_broken = True
            problem = "a backslash and U are followed by what is not a character"
            self._report(START, problem, "use single quotes")
        if not self.faults and not isinstance(self.root, Mapping):
            self._report_root()

    def _walk(self) -> None:
        documents = 0
        for event in iter(_LOADER(self._text.for_yaml()).get_event, None):
            if isinstance(event, yaml.NodeEvent):
                self._take(event, event.start_mark or START)
            elif isinstance(event, yaml.CollectionEndEvent):
                done = self._open.pop()
                self._add(done.closed(self._text.place(done.mark)), done.mark)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
            is_too_deep = len(self._open) > syntax.MAX_DEPTH
            if documents > 1 or is_too_deep or len(self.faults) >= MAX_FAULTS:
                self._report_end(event.start_mark or START, documents, is_too_deep=is_too_deep)
                return

    def _report_end(self, mark: Mark, documents: int, *, is_too_deep: bool) -> None:
        """Report why nothing more is read, unless it is for the faults found before."""
        if documents > 1:
            self._report(mark, "a second document starts here", "write one file for each")
        if is_too_deep:
            self._report(mark, syntax.TOO_DEEP.problem, syntax.TOO_DEEP.remedy)

    def _take(self, event: yaml.NodeEvent, mark: Mark) -> None:
        if event.anchor is not None or getattr(event, "tag", None) is not None:
            self._refuse_extras(event, mark)
        if isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event, mark), mark)
        elif isinstance(event, yaml.AliasEvent):
            self._add(Scalar("", *self._text.place(mark)), mark)
        else:
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            self._open.append(_Open(self._path(), is_mapping, mark))

    def _refuse_extras(self, event: yaml.NodeEvent, mark: Mark) -> None:
        """Refuse anchors, aliases and tags: another parser would read them differently."""
        start = "*" if isinstance(event, yaml.AliasEvent) else "&"
        if event.anchor is not None:
            problem = f"a value cannot start with {start}, YAML's sign for a repeated value"
            self._report(mark, problem, syntax.QUOTE_IT)
        if getattr(event, "tag", None) is not None:
            problem = "a value cannot start with !, YAML's sign for a type"
            self._report(mark, problem, syntax.QUOTE_IT)

    def _scalar(self, event: yaml.ScalarEvent, mark: Mark) -> Scalar:
        # The text itself has none: only an escape can make one.
        if event.style == '"' and (found := UNPRINTABLE.search(event.value)):
            problem = f"contains U+{ord(found[0]):04X}, an invisible character"
            self._report(mark, problem, "write the value without it")
        end, is_plain = event.end_mark or START, not event.style
        comment = self._text.comment(end) if is_plain and self._text.has_comments else ""
        line, column, source = self._text.place(mark)
        behind = line, column + end.column - mark.column
        if end.line != mark.line:
            behind = self._text.place(end)[:2]
        return Scalar(event.value, line, column, source, is_plain, comment, behind)

    def _add(self, node: Node, mark: Mark) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if not parent.is_mapping:
            parent.items.append(node)
        elif parent.key is None:
            parent.key = self._as_key(node, mark)
        else:
            parent.entries.setdefault(parent.key.text, (parent.key, node))
            parent.key = None

    def _as_key(self, node: Node, mark: Mark) -> Scalar:
        if not isinstance(node, Scalar):
            self._report(mark, "a key must be a text", "write `key: value`")
            return Scalar("?", node.line, node.column)
        if node.is_plain:
            self.key_ends.add((mark.line, mark.column + len(node.text) + 1))
        if first := self._open[-1].entries.get(node.text):
            problem = f"this key is already on line {first[0].line}"
            self._report(mark, problem, "delete one of the two", dotted(self._path(), node.text))
        return node

    def _path(self) -> str:
        return self._open[-1].path_of_next() if self._open else ""

    def _report(self, mark: Mark, problem: str, remedy: str, key: str = "") -> None:
        self.faults.append(self._text.fault(mark, key or self._path(), problem, remedy))

    def _report_syntax(self, error: yaml.MarkedYAMLError) -> None:
        fault = syntax.fault(error, self._text, self._path())
        last = self._open[-1].last_key() if self._open else None
        if last and (last.line, last.column) < (fault.line, fault.column) < (last.line + 1, 0):
            fault = replace(fault, key=dotted(self._path(), last.text))
        if fault.line not in {earlier.line for earlier in self.faults}:  # one cause, one fault
            self.faults.append(fault)

    def _report_root(self) -> None:
        line, column, source = 1, 1, ""
        is_empty = self.root is None or (isinstance(self.root, Scalar) and not self.root.text)
        problem = "is empty" if is_empty else "has no `key: value` lines"
        remedy = "write one `key: value` on each line"
        if self.root is not None and not is_empty:
            line, column, source = self.root.line, self.root.column, self.root.source
        self.faults.append(Fault(self._text.name, line, column, "", problem, remedy, source))
