"""A mutant comes to life: the functions of a module that is already imported get the code of the mutant."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from tests.mutation.mutants import Mutant, functions_of


class Function(NamedTuple):
    """A function or method of a module; nested ones count as the one that they stand in."""

    path: str
    name: str


def take_over(mutant: Mutant) -> None:
    """Let the running program be the mutant: its functions, and the names at the top of its module."""
    module, twin = _twin(mutant.path, mutant.source)
    if mutant.function:
        old, new = dict(_functions(module)), dict(_functions(twin))
        _become(old[mutant.function], new[mutant.function])
        _decorated(module, new[mutant.function].__code__)
    else:
        for name, value in vars(twin).items():
            _rename(module, name, value)


def listen(path: str, source: str, told: Callable[[Function], None]) -> None:
    """Let the functions of a module tell when they are called."""
    tree = ast.parse(source)
    for name, node in functions_of(tree):
        first = ast.parse(f"_listening('{name}')").body[0]
        node.body.insert(1 if ast.get_docstring(node) else 0, first)
    module, twin = _twin(path, ast.unparse(ast.fix_missing_locations(tree)))
    module.__dict__["_listening"] = lambda name: told(Function(path, name))
    new = dict(_functions(twin))
    for name, function in _functions(module):
        _become(function, new[name])


def _twin(path: str, source: str) -> tuple[ModuleType, ModuleType]:
    """Return the module that runs, and one that is made of other source."""
    name = path.removesuffix(".py").replace("/", ".")
    module = sys.modules[name]
    twin = ModuleType(name)
    twin.__dict__.update(__file__=module.__file__, __package__=module.__package__, __spec__=module.__spec__)
    twin.__dict__["_listening"] = lambda _name: None
    exec(compile(source, str(module.__file__), "exec"), twin.__dict__)
    return module, twin


def _functions(module: ModuleType) -> Iterator[tuple[str, FunctionType]]:
    """Yield the functions and methods of a module by their qualified names."""
    for value in list(vars(module).values()):
        yield from _of(value, module)
        if isinstance(value, type) and value.__module__ == module.__name__:
            for member in vars(value).values():
                yield from _of(getattr(member, "fget", None) or getattr(member, "__func__", member), module)


def _of(value: Any, module: ModuleType) -> Iterator[tuple[str, FunctionType]]:
    inner = value
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    if isinstance(inner, FunctionType) and inner.__module__ == module.__name__:
        yield inner.__qualname__, inner


def _become(old: FunctionType, new: FunctionType) -> None:
    old.__code__ = new.__code__
    old.__defaults__ = new.__defaults__
    old.__kwdefaults__ = new.__kwdefaults__


def _decorated(module: ModuleType, code: CodeType) -> None:
    """Renew what a decorator returned when the module was imported, if it is the decorator that changes."""
    inner = {one.co_qualname: one for one in code.co_consts if isinstance(one, CodeType)}
    for value in vars(module).values():
        if isinstance(value, FunctionType) and value.__code__.co_qualname in inner:
            value.__code__ = inner[value.__code__.co_qualname]


def _rename(module: ModuleType, name: str, value: Any) -> None:
    """Replace a name of a module that holds no function or class, there and wherever it was imported."""
    old = vars(module).get(name)
    if name.startswith("__") or isinstance(value, FunctionType | type | ModuleType) or callable(value):
        return
    for other in [one for key, one in sys.modules.items() if key.partition(".")[0] == "cds_service"]:
        if vars(other).get(name) is old and name in vars(other):
            setattr(other, name, value)
