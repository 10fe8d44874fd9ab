"""Why a text is not YAML, in the operator's words, and what to write instead."""

from __future__ import annotations

import re
from typing import NamedTuple

import yaml

from daemon.documents.text import Mark, Position, Text
from daemon.errors import Fault

# What templates write where a value belongs: [WD-0001], ***Your Name***, <your bucket>, {id}.
PLACEHOLDER = re.compile(r"\[[^][,]{2,}\]|\*{2,}.*\*{2,}|<[^<>]*>|\{[^{},:]*\}")
_PLACEHOLDER_VALUE = re.compile(rf"[^:#]*: *({PLACEHOLDER.pattern})\s*")
PLACEHOLDER_LEFT = "is still the template's placeholder"
REPLACE_IT = "write your own value in its place, without these marks"
QUOTE_IT = "write the value in double quotes"
ALIGN_KEYS = "start all keys of one group in the same column"
MAX_DEPTH = 20  # a manifest nests 3 deep
_LONE_KEY = re.compile(r"\s*(?:- +)*[\w.-]+\s*")
_VALUE_START = re.compile(r"\s*(?:- +)*[\w.-]+: +(?P<first>[@`%&*!|>\[\]{},\"'?-])")
# What other parsers read as the same text: 98109 and 2.0, but not 02142.
_SAME_AS_NUMBER = re.compile(r"(0|[1-9][0-9]*)(\.(0|[0-9]*[1-9]))?")


class Reason(NamedTuple):
    """What is wrong and what to write; `at_start` if what is wrong began earlier."""

    problem: str
    remedy: str
    at_start: bool = False


TOO_DEEP = Reason(f"nests more than {MAX_DEPTH} deep", "nest like the example")


def fault(error: yaml.MarkedYAMLError, text: Text, key: str) -> Fault:
    """Return the fault for a YAML syntax error."""
    mark: Mark = error.problem_mark or Position(0, 0)  # it always has one, whatever the stubs say
    line = text.copied(mark.line)
    reason = _of_placeholder(line) or _of_context(error)
    reason = reason or _of_line(line, mark.column, error.problem or "")
    if reason.at_start and error.context_mark is not None:
        mark = error.context_mark
    return text.fault(mark, key, reason.problem, reason.remedy)


def is_typed(text: str) -> bool:
    """Return whether YAML 1.1 reads another value: 02142 is 1122 there, and NO is false."""
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], ())
    is_typed = any(pattern.match(text) for _, pattern in resolvers)
    return is_typed and not _SAME_AS_NUMBER.fullmatch(text)


def _of_placeholder(line: str) -> Reason | None:
    is_left = _PLACEHOLDER_VALUE.fullmatch(line) is not None
    return Reason(PLACEHOLDER_LEFT, REPLACE_IT) if is_left else None


def _of_context(error: yaml.MarkedYAMLError) -> Reason | None:
    context, problem = error.context or "", error.problem or ""
    if "nesting depth" in problem:  # libyaml, from 0.2.6 on, at 1,000
        return TOO_DEEP
    if "escape" in problem or "hexadecimal" in problem:
        return Reason(
            "in double quotes a backslash starts an escape",
            "use single quotes, or write each backslash twice",
        )
    if "quoted scalar" in context:
        return Reason("this quotation mark is never closed", "close it on its line", at_start=True)
    if "flow" in context:
        remedy = "close it; if it is a part of the text, write the value in double quotes"
        return Reason("this [ or { begins a list that is not complete", remedy, at_start=True)
    return None


def _of_line(line: str, column: int, problem: str) -> Reason:
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return Reason("a tab is used for indentation", "indent with spaces only")
    if "mapping values" in problem:
        return _of_colon(line[:column])
    if "expected ':'" in problem:
        remedy = "give every line a key and a value, with a space after the colon"
        return Reason("this line is not a `key: value`", remedy, at_start=True)
    if found := _VALUE_START.match(line):
        return _of_first(found["first"])
    if "expected" in problem and "document start" not in problem:
        return Reason("this line does not fit the lines above it", ALIGN_KEYS)
    return Reason(f"YAML cannot be read from here on ({problem})", "compare it with the example")


def _of_colon(before: str) -> Reason:
    if _LONE_KEY.fullmatch(before):
        problem = "this key is indented too far, or the line above it has no `key:`"
        return Reason(problem, ALIGN_KEYS)
    return Reason("a colon and a space inside a value start a new key", QUOTE_IT)


def _of_first(first: str) -> Reason:
    if first in "\"'":
        return Reason(
            "the value continues after its closing quotation mark",
            "keep all of it between the marks; inside '...' write each ' twice",
        )
    return Reason(f"a value cannot start with {first}", QUOTE_IT)
