"""
Mutants: each is a module with one small wrong change, of the kind that people make.

A comparison turned, a limit moved by one, "and" for "or", a condition negated, YES for NO, a result dropped. Wording
is left alone: a changed message is no wrong decision, and the tests do not repeat every sentence.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import NamedTuple

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_NAMES = {
    "YES": "UNKNOWN",
    "NO": "UNKNOWN",
    "UNKNOWN": "NO",
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "above": "below",
    "below": "above",
    "every": "some",
    "some": "every",
}

Change = tuple[str, Callable[[ast.AST], ast.AST]]


class Mutant(NamedTuple):
    """One wrong change: where it is (``function`` "" at the top), what it is, and the whole module with it."""

    path: str
    line: int
    function: str
    change: str
    source: str

    @property
    def name(self) -> str:
        """Say where and what in one line."""
        return f"{self.path}:{self.line} {self.change}"


def mutants(path: str, source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    tree = ast.parse(source)
    spoken, functions = _wording(tree), _functions(tree)
    nodes = list(ast.walk(tree))
    for place, node in enumerate(nodes):
        if id(node) in spoken:
            continue
        for said, change in _changes(node):
            changed = deepcopy(tree)
            twin = list(ast.walk(changed))[place]
            mutated = _Swap(twin, change).visit(changed)
            where = path, getattr(node, "lineno", 0), functions.get(id(node), "")
            yield Mutant(*where, said, ast.unparse(ast.fix_missing_locations(mutated)))


def functions_of(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the functions and methods of a module with their qualified names."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{one.name}", one) for one in node.body if isinstance(one, ast.FunctionDef))


def _functions(tree: ast.Module) -> dict[int, str]:
    """Say of every node in which function or method it stands."""
    return {id(inner): name for name, node in functions_of(tree) for inner in ast.walk(node)}


class _Swap(ast.NodeTransformer):
    """Puts a changed node in the place of one node."""

    def __init__(self, target: ast.AST, change: Callable[[ast.AST], ast.AST]) -> None:
        self._target, self._change = target, change

    def visit(self, node: ast.AST) -> ast.AST:
        """Change the node that is meant, and look into all others."""
        if node is self._target:
            return self._change(node)
        return self.generic_visit(node)


def _wording(tree: ast.Module) -> set[int]:
    """Return the nodes that are wording, typing or imports: f-strings, annotations, what ``fail`` says."""
    left: set[int] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
            parts = [node]
        elif isinstance(node, ast.FunctionDef):
            parts = [node.returns, *node.decorator_list, *(one.annotation for one in node.args.args)]
            parts += [one.annotation for one in node.args.kwonlyargs]
        elif isinstance(node, ast.ClassDef):  # frozen=True
            parts = [one.value for one in node.keywords]
        elif isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, ast.Call) and _called(node) in ("fail", "ContentError", "TypeVar"):
            parts = [node]
        left |= {id(inner) for part in parts if part is not None for inner in ast.walk(part)}
    return left


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _changes(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        yield from _compared(node)
    elif isinstance(node, ast.BoolOp):
        yield _boolean(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield f"drop not: {ast.unparse(node)}", lambda one: one.operand  # type: ignore[attr-defined]
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC and not _types(node):
        yield _counted(node)
    elif isinstance(node, ast.Constant):
        yield from _constant(node)
    elif isinstance(node, ast.Name) and node.id in _NAMES and isinstance(node.ctx, ast.Load):
        yield f"{node.id} -> {_NAMES[node.id]}", lambda one: ast.Name(_NAMES[one.id], ast.Load())  # type: ignore[attr-defined]
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield f"negate: {ast.unparse(node.test)}", _negated
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield f"drop if: {ast.unparse(node.ifs[0])}", _unfiltered
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield f"return None: {ast.unparse(node.value)[:60]}", lambda _: ast.Return(ast.Constant(None))


def _types(node: ast.BinOp) -> bool:
    """Say whether ``|`` joins types."""
    sides = (node.left, node.right)
    return isinstance(node.op, ast.BitOr) and all(isinstance(one, ast.Name) and one.id[0].isupper() for one in sides)


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _compared(node: ast.Compare) -> Iterator[Change]:
    for place, operator in enumerate(node.ops):
        other = _COMPARISONS[type(operator)]

        def change(one: ast.AST, place: int = place, other: type[ast.cmpop] = other) -> ast.AST:
            one.ops[place] = other()  # type: ignore[attr-defined]
            return one

        yield f"{type(operator).__name__} -> {other.__name__}: {ast.unparse(node)[:70]}", change


def _boolean(node: ast.BoolOp) -> Change:
    other = ast.Or if isinstance(node.op, ast.And) else ast.And

    def change(one: ast.AST) -> ast.AST:
        one.op = other()  # type: ignore[attr-defined]
        return one

    return f"{type(node.op).__name__} -> {other.__name__}: {ast.unparse(node)[:70]}", change


def _counted(node: ast.BinOp) -> Change:
    other = _ARITHMETIC[type(node.op)]

    def change(one: ast.AST) -> ast.AST:
        one.op = other()  # type: ignore[attr-defined]
        return one

    return f"{type(node.op).__name__} -> {other.__name__}: {ast.unparse(node)[:70]}", change


def _constant(node: ast.Constant) -> Iterator[Change]:
    value = node.value
    if isinstance(value, bool):
        yield f"{value} -> {not value}", lambda _: ast.Constant(not value)
    elif isinstance(value, int):
        yield f"{value} -> {value + 1}", lambda _: ast.Constant(value + 1)
    elif isinstance(value, str) and value.replace(".", "", 1).isdigit():  # Decimal("0.8")
        yield f'"{value}" -> "{value}1"', lambda _: ast.Constant(value + ("1" if "." in value else ".1"))


def _negated(node: ast.AST) -> ast.AST:
    node.test = ast.UnaryOp(ast.Not(), node.test)  # type: ignore[attr-defined]
    return node


def _unfiltered(node: ast.AST) -> ast.AST:
    node.ifs = node.ifs[1:]  # type: ignore[attr-defined]
    return node
