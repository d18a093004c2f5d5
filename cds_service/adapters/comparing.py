"""
A back-test on several processor cores: reading patients takes longer than asking the rules about them.

The processes are forked, so nothing but the calls travels. Only for commands: a process with threads must not fork.
"""

from __future__ import annotations

import gc
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from datetime import date
from itertools import islice

import msgspec

from cds_service.adapters.cohorts import Kept, Opener, Raw
from cds_service.backtest import Backtest, Comparing, added
from cds_service.rules.book import RuleBook

# Calls that one process is handed at a time, and from how many on it pays to start processes (measured).
CHUNK, PAYS = 100, 1_000


class Books(msgspec.Struct, frozen=True):
    """What every process needs: two books, the hook, the day, and how calls are read."""

    before: RuleBook
    after: RuleBook
    hook: str
    day: date
    opener: Opener


_books: Books | None = None


def _begin(books: Books) -> None:
    global _books  # noqa: PLW0603 - what a forked process works with
    _books = books


def _compare(raws: list[Raw]) -> Backtest:
    assert _books is not None  # noqa: S101 - set by _begin
    comparing = Comparing(_books.before, _books.after, _books.hook, _books.day)
    for raw in raws:
        comparing.add(_books.opener.subject(raw))
    return comparing.found


def run(
    before: RuleBook,
    after: RuleBook,
    cohort: Kept,
    hook: str,
    *,
    day: date,
    progress: Callable[[int, int], object],
    processes: int,
) -> Backtest:
    """Answer every call of a cohort with both books, in so many processes; what comes of it is that of backtest.run."""
    books, seen, parts = Books(before, after, hook, day, cohort.opener), set[str](), list[Backtest]()
    gc.freeze()  # what was loaded stays where it is: processes then share it
    total, done = len(cohort), 0
    forking = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, forking, initializer=_begin, initargs=(books,)) as pool:
        running: deque[Future[Backtest]] = deque()
        for raws in _chunks(cohort.raws()):
            running.append(pool.submit(_compare, raws))
            if len(running) > 4 * processes:  # no more is read than can soon be asked
                parts.append(running.popleft().result())
                done += parts[-1].calls + parts[-1].refused
                progress(done, total)
            seen.update(raw.patient for raw in raws)
        parts += [one.result() for one in running]
    progress(total, total)
    whole = added(parts)
    return msgspec.structs.replace(whole, total=total, patients=min(whole.patients, len(seen)))


def _chunks(raws: Iterator[Raw]) -> Iterator[list[Raw]]:
    while chunk := list(islice(raws, CHUNK)):
        yield chunk
