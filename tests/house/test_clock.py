"""
Floors 0 to 5 are pure: no clock, no randomness, no network, and no files but where content is loaded.

What is decided today can therefore be decided again, for any day, with the same answer.
"""

from __future__ import annotations

import ast

import pytest

from tests.house.source import PACKAGE, dotted_uses, imports, pure_files, shown, tree

# Names count when used, not only when called: `default_factory=datetime.now` reads the clock too.
CLOCK = {
    *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
    "datetime.date.today",
    *(f"time.{name}" for name in ("time", "time_ns", "localtime", "gmtime", "monotonic", "perf_counter", "sleep")),
}
RANDOMNESS = {"uuid.uuid1", "uuid.uuid4", "uuid.uuid6", "uuid.uuid7", "os.urandom"}
RANDOM_MODULES = {"random", "secrets"}
OUTSIDE_MODULES = {
    *("http.client", "httpx", "requests", "socket", "ssl", "urllib.request", "urllib3"),
    *("sqlalchemy", "sqlite3", "subprocess", "tempfile"),
}

FILE_METHODS = {
    "open",
    "read_bytes",
    "read_text",
    "write_bytes",
    "write_text",
    "iterdir",
    "glob",
    "rglob",
    "unlink",
}
# Where content (rules, concepts, schemas) is read at start-up. A path here is a file, or a folder.
LOADERS = (
    "schemas/",
    "rules/source.py",
    "rules/book.py",
    "rules/clients.py",
    "rules/thresholds.py",
    "rules/vignettes.py",
    "terminology/book.py",
    "terminology/products.py",
    "terminology/site.py",
    "terminology/valuesets.py",
)


def impurities(module: ast.Module, *, may_read_files: bool = False) -> list[str]:
    """List what a module does that a pure one must not, as "line: what"."""
    found = [(line, name) for name, line in dotted_uses(module) if name in CLOCK | RANDOMNESS]
    banned = RANDOM_MODULES | OUTSIDE_MODULES
    found += [(line, name) for _, name, line in imports(module) if {name, name.rpartition(".")[0]} & banned]
    if not may_read_files:
        found += file_uses(module)
    return [f"{line}: {name}" for line, name in sorted(set(found))]


def file_uses(module: ast.Module) -> list[tuple[int, str]]:
    """Find calls that open or list files."""
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
    opened = [(call.lineno, "open") for call in calls if isinstance(call.func, ast.Name) and call.func.id == "open"]
    methods = [(call.lineno, call.func.attr) for call in calls if isinstance(call.func, ast.Attribute)]
    return opened + [(line, name) for line, name in methods if name in FILE_METHODS]


def test_floors_zero_to_five_are_pure() -> None:
    found = [
        f"{shown(path)}:{impurity}"
        for path in pure_files()
        for impurity in impurities(tree(path), may_read_files=path.relative_to(PACKAGE).as_posix().startswith(LOADERS))
    ]

    assert [] == found


@pytest.mark.parametrize(
    "planted",
    [
        "import datetime\nnow = datetime.datetime.now()",
        "import datetime as dt\ntoday = dt.date.today()",
        "from datetime import datetime as when\nnow = when.utcnow()",
        "from datetime import UTC, datetime\ndef f(clock=datetime.now): return clock(UTC)",
        "from time import time\nnow = time()",
        "import time\nnow = time.time()",
        "import uuid\nid = str(uuid.uuid1())",
        "from uuid import uuid4\nid = uuid4().hex",
        "import random",
        "from socket import create_connection",
        "import urllib.request",
        "from urllib import request",
        "from urllib.request import urlopen",
        "def f():\n    import requests",
        "text = open('rule.yaml').read()",
        "from pathlib import Path\ntext = Path('rule.yaml').read_text()",
    ],
)
def test_a_planted_impurity_is_found(planted: str) -> None:
    assert impurities(ast.parse(planted))


@pytest.mark.parametrize(
    "harmless",
    [
        "from datetime import datetime\nday = datetime.fromisoformat(text).date()",
        "from urllib.parse import quote",
        "import uuid\nid = uuid.uuid5(uuid.NAMESPACE_URL, name)",
        "def f(now): return now.today",
    ],
)
def test_what_needs_no_clock_is_left_alone(harmless: str) -> None:
    assert [] == impurities(ast.parse(harmless))
