"""The project's own source, read as text and as syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "cds_service"

# Floors 0 to 5, the pure ones: they are given everything, and reach for nothing.
FLOORS = ("errors", "schemas", "terminology", "protocol", "facts", "rules", "cards")
PURE = (*FLOORS, "decide", "replay", "publishing", "recording", "linting")


def python_files(*folders: str) -> list[Path]:
    """Return the Python files of some folders of the project, in a steady order."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def pure_files() -> list[Path]:
    """Return the files of floors 0 to 5 that have been written so far."""
    return [
        path for path in python_files("cds_service") if path.relative_to(PACKAGE).parts[0].removesuffix(".py") in PURE
    ]


def shown(path: Path) -> str:
    """Name a file as a reader would: from the top of the project."""
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    """Parse one file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(node: ast.AST) -> Iterator[tuple[str, str, int]]:
    """Yield (local name, full dotted name, line) for all that a module imports absolutely, at any depth."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                # `import a.b` binds `a`; `import a.b as c` binds c to a.b.
                bound = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or bound, bound, child.lineno
                if bound != alias.name:
                    yield "", alias.name, child.lineno
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            for alias in child.names:
                yield alias.asname or alias.name, f"{child.module}.{alias.name}", child.lineno


def dotted_uses(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield (full dotted name, line) for each name that a module uses, aliases of imports undone."""
    bound = {local: full for local, full, _ in imports(module) if local}
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
            head, *rest = ast.unparse(node).split(".")
            if head.isidentifier():
                yield ".".join((bound.get(head, head), *rest)), node.lineno
