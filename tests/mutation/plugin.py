"""The pytest plugin that tries mutants instead of running the tests once."""

from __future__ import annotations

import os
import random
import resource
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from _pytest.runner import runtestprotocol

from cds_service import decoding
from tests.mutation.living import Function, listen, take_over
from tests.mutation.mutants import Mutant, mutants

# A mutant may go round in a circle; the tests need a minute or two of processor time.
PROCESSOR_SECONDS = 200
KILLED, SURVIVED = "killed", "survived"


class Sample(NamedTuple):
    """How mutants are drawn: how many, how many of them were tried before, and the seed."""

    size: int
    skip: int
    seed: int

    def of(self, everything: Sequence[Mutant]) -> list[Mutant]:
        """Return the mutants of the sample."""
        return random.Random(self.seed).sample(everything, min(self.size, len(everything)))[self.skip :]


class Mutating:
    """Collects the tests as usual, then tries a sample of mutants on them."""

    def __init__(self, root: Path, modules: Sequence[str], only: str, sample: Sample, kept: Path | None) -> None:
        self._root, self._modules, self._kept = root, modules, kept
        everything = [one for name in modules for one in mutants(name, (root / name).read_text(encoding="utf-8"))]
        chosen = [one for one in everything if only in one.name]
        self._mutants, self._only = chosen if only else sample.of(chosen), only
        self._all = len(everything)
        self._recorder = Recorder()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try every mutant in a child of its own."""
        _say(f"{len(session.items)} tests, {len(self._mutants)} of {self._all} mutants")
        calls = decoding.decode(self._calls(session))
        known = {Function(*one["function"]): one["tests"] for one in calls["tests"]}
        everybody = {Function(*one) for one in calls["everybody"]}
        fate: Counter[tuple[str, str]] = Counter()
        for number, mutant in enumerate(self._mutants, 1):
            started, which = time.perf_counter(), self._tests_of(mutant, known, everybody, len(session.items))
            code, _ = _in_child(lambda mutant=mutant, which=which: _tried(mutant, session, which))
            said = KILLED if code else SURVIVED
            fate[mutant.path, said] += 1
            _say(f"{number} {said} {time.perf_counter() - started:.0f}s {len(which)} tests {mutant.name}")
        _say(_table(self._modules, fate))
        return True

    def _calls(self, session: pytest.Session) -> bytes:
        """Return which tests call which functions; of mutants that are asked for by name every test is tried."""
        if self._only:
            return b'{"tests": [], "everybody": []}'
        if self._kept and self._kept.exists():
            return self._kept.read_bytes()
        _, calls = _in_child(lambda: self._record(session))
        if self._kept:
            self._kept.write_bytes(calls)
        return calls

    def _record(self, session: pytest.Session) -> tuple[int, bytes]:
        """Run all tests once, and note which functions each of them calls."""
        recorder = self._recorder = Recorder()
        for name in self._modules:
            listen(name, (self._root / name).read_text(encoding="utf-8"), recorder)
        for place, (item, following) in enumerate(pairwise([*session.items, None])):
            recorder.place = place
            if item is not None and not _passes(item, following):
                raise pytest.UsageError(f"fails without any mutant: {item.nodeid}")
        return 0, recorder.told()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Take note that a test is being set up."""
        self._recorder.set_up = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        """Take note that a test runs."""
        self._recorder.set_up = False

    def _tests_of(
        self, mutant: Mutant, known: dict[Function, list[int]], everybody: set[Function], number: int
    ) -> list[int]:
        """Return the tests that may notice a mutant, those that call its function first."""
        function = Function(mutant.path, mutant.function)
        calling = known.get(function, [])
        if calling and function not in everybody:
            return calling
        return [*calling, *sorted(set(range(number)) - set(calling))]


class Recorder:
    """Notes the functions of our modules that are called while a test runs, and while it is being set up."""

    def __init__(self) -> None:
        self._tests: dict[Function, dict[int, None]] = {}
        self._everybody: set[Function] = set()
        self.place, self.set_up = 0, True

    def __call__(self, function: Function) -> None:
        """Take note of a call."""
        self._tests.setdefault(function, {})[self.place] = None
        if self.set_up:
            self._everybody.add(function)

    def told(self) -> bytes:
        """Return what was noted, as JSON."""
        tests = [{"function": list(one), "tests": list(places)} for one, places in self._tests.items()]
        return msgspec.json.encode({"tests": tests, "everybody": [list(one) for one in self._everybody]})


def _tried(mutant: Mutant, session: pytest.Session, which: Sequence[int]) -> tuple[int, bytes]:
    """Return 1 where a test notices the mutant."""
    try:
        take_over(mutant)
    except Exception:  # noqa: BLE001 - a module that cannot even be read is noticed by everybody
        return 1, b""
    items = [session.items[place] for place in which]
    return int(not all(map(_passes, items, [*items[1:], None]))), b""


def _passes(item: pytest.Item, following: pytest.Item | None) -> bool:
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))


def _in_child(work: Any) -> tuple[int, bytes]:
    """Do something in a child process; return its exit code (not 0 where it crashed or never ended) and its answer."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
        code, answer = 2, b""
        try:
            code, answer = work()
        finally:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(answer)
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return status, answer


def _table(modules: Sequence[str], fate: Counter[tuple[str, str]]) -> str:
    lines = [f"{'module':45} killed survived"]
    for name in modules:
        killed, survived = fate[name, KILLED], fate[name, SURVIVED]
        lines += [f"{name:45} {killed:6} {survived:8}"] if killed + survived else []
    killed = sum(number for (_, said), number in fate.items() if said == KILLED)
    total = fate.total()
    return "\n".join([*lines, f"{'all':45} {killed:6} {total - killed:8}  {100 * killed / max(total, 1):.1f} % killed"])


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode())
