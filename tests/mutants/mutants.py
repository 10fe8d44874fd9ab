"""The mutants of a module: cosmic-ray's operators, and one more that removes a statement.

Left out is what no test can notice by the language's own rules, see `_is_idle`.
"""

from __future__ import annotations

import ast
import difflib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import Name

Position = tuple[int, int]  # line from 1, column from 0

# `==` for `is`, and the other way round, is the same for None, for enums and for short strings.
SAME = ("Eq_Is", "NotEq_IsNot", "Is_Eq", "IsNot_NotEq")


class RemoveStatement(Operator):
    """Replaces by `pass` a call, a raise, a del, or an assignment to an attribute or an item."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Position, Position]]:
        """Yield the place of the statement, if `node` is one of these."""
        if node.type == "simple_stmt" and _has_effect(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Put `pass` in its place."""
        first = node.children[0]
        name = Name("pass", first.start_pos, prefix=first.get_first_leaf().prefix)
        node.children[0] = name
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Return what cosmic-ray asks of an operator."""
        return (Example("f(x)", "pass"), Example("a.b = 1", "pass"), Example("a[b] += 1", "pass"))


@dataclass(frozen=True)
class Mutant:
    """One change of one file of the core."""

    path: str  # from the repository's root
    line: int
    operator: str
    before: str  # the lines that it changes, with single spaces
    after: str
    source: str  # of the mutated module

    @property
    def place(self) -> str:
        """Return such as "daemon/jobs/storage/wal.py:31"."""
        return f"{self.path}:{self.line}"


def sample(paths: Iterable[Path], seed: int, count: int) -> list[Mutant]:
    """Return `count` mutants, or all if there are fewer. Repeatable as long as the files stay.

    Each place of the code has the same chance, no matter how many operators change it.
    """
    choice = random.Random(seed)
    places = [place for path in sorted(paths) for place in _places(path)]
    choice.shuffle(places)
    found: list[Mutant] = []
    for variants in places:
        if len(found) == count:
            break
        choice.shuffle(variants)
        mutants = (_mutant(*variant) for variant in variants)
        found += [one for one in [next(filter(None, mutants), None)] if one]
    return found


_Variant = tuple[Path, int, str, Operator, int]  # file, line, operator and which occurrence of it


def _places(path: Path) -> list[list[_Variant]]:
    """Return the places of a file that can be changed, each with the changes that there are."""
    source = path.read_text()
    nodes = list(ast_nodes(get_ast(source)))
    idle = [*_idle(ast.parse(source))]
    places: dict[tuple[Position, Position, str], list[_Variant]] = {}
    for name, operator in _operators():
        found = (place for node in nodes for place in operator.mutation_positions(node))
        for occurrence, (start, end) in enumerate(found):
            if not any(first <= start < last for first, last in idle):
                kind = name.rsplit("_", maxsplit=1)[0] if "Replace" in name else name
                key = start, end, kind
                places.setdefault(key, []).append((path, start[0], name, operator, occurrence))
    return [places[key] for key in sorted(places)]


def _operators() -> Iterator[tuple[str, Operator]]:
    for name in sorted(cosmic_ray.plugins.operator_names()):
        operator = cosmic_ray.plugins.get_operator(name)
        if not operator.arguments() and not name.endswith(SAME):
            yield name.removeprefix("core/"), operator()
    yield "RemoveStatement", RemoveStatement()


def _mutant(path: Path, line: int, name: str, operator: Operator, occurrence: int) -> Mutant | None:
    """Return the mutant; None if it is the same program, or none at all."""
    source = path.read_text()
    mutated = MutationVisitor.mutate_code(source, operator, occurrence)
    try:
        if mutated is None or ast.dump(ast.parse(mutated)) == ast.dump(ast.parse(source)):
            return None
    except SyntaxError:
        return None
    old, new = source.splitlines(), mutated.splitlines()
    changed = [*difflib.unified_diff(old, new, n=0, lineterm="")][3:]
    before, after = (
        " ".join(" ".join(text[1:] for text in changed if text[0] == sign).split()) for sign in "-+"
    )
    return Mutant(str(path), line, name, before, after, mutated)


def _has_effect(statement: Any) -> bool:
    if statement.type == "expr_stmt":
        return bool(statement.children[0].type == "atom_expr")
    is_call = statement.type == "atom_expr" and statement.children[-1].type == "trailer"
    is_call = is_call and statement.children[-1].children[0] == "("
    return is_call or statement.type in {"raise_stmt", "del_stmt"} or statement == "raise"


def _idle(tree: ast.Module) -> Iterator[tuple[Position, Position]]:
    """Yield the places where a change does nothing when the program runs.

    Annotations are never evaluated, nor are imports for type checkers. What a dataclass forbids by
    `frozen` and `slots` is not done anywhere, as mypy checks, nor is what a lone `*` among the
    parameters forbids. `noqa` is for the linter.
    """
    for node in ast.walk(tree):
        match node:
            case ast.arg(annotation=ast.expr() as part) | ast.AnnAssign(annotation=part):
                yield _span(part)
            case ast.FunctionDef():
                yield from _idle_in_signature(node)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield _span(node)
            case ast.ClassDef(decorator_list=decorators):
                for decorator in decorators:
                    yield _span(decorator)


def _idle_in_signature(function: ast.FunctionDef) -> Iterator[tuple[Position, Position]]:
    """Yield the place of what is returned, and that of a lone `*`."""
    if function.returns:
        yield _span(function.returns)
    names = function.args
    if names.kwonlyargs and not names.vararg:
        before = [_span(one)[1] for one in (*names.posonlyargs, *names.args, *names.defaults)]
        yield max(before, default=_span(function)[0]), _span(names.kwonlyargs[0])[0]


def _span(node: ast.stmt | ast.expr) -> tuple[Position, Position]:
    return (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)
