"""
Screening on one machine: part after part, in as many processes as there are processors.

The rules are loaded once, before the processes are made (fork). One process reads the input and writes down what the
others find, part by part: killed at any moment, the run goes on from the last part that was written.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from pathlib import Path

from cds_service.adapters.population import Journal
from cds_service.adapters.population.journal import PACKED, Sheet
from cds_service.errors import Unavailable
from cds_service.screening.one import Screener
from cds_service.screening.order import Order
from cds_service.screening.progress import Progress

Found = tuple[list[Sheet], Counter[str]]


def screen(order: Order, working: Path, parts: int, workers: int, progress: Progress) -> None:
    """Bring the run in a working file to its end, from wherever it was left."""
    _gather(order, working, parts, progress)
    journal = Journal(working)
    done = journal.done()
    journal.close()  # nothing of SQLite may be open in a process that forks
    left = [part for part in range(parts) if part not in done]
    if not left:
        return
    with _processes(order, working, min(workers, len(left))) as found:
        journal = Journal(working)
        try:
            progress.begin("Screening", parts, "patients", done=len(done))
            for part, (sheets, counts) in found(left):
                journal.keep(part, sheets, counts)
                progress.step(1, counts["patients"])
            progress.end()
        finally:
            journal.close()


def _gather(order: Order, working: Path, parts: int, progress: Progress) -> None:
    inputs = order.plan.inputs
    sizes = [one.size * (PACKED if one.path.endswith(".gz") else 1) for one in inputs]
    journal = Journal(working)
    try:
        begun = journal.gathered()
        if len(begun) == len(inputs) and all(finished for _, finished in begun.values()):
            return
        before = _read(journal, sizes)
        progress.begin("Reading", sum(sizes), "MB", done=before)
        for _ in journal.gather(order.plan, parts, order.kinds()):
            now = _read(journal, sizes)
            progress.step(now - before, (now - before) / 1e6)
            before = now
        progress.step(sum(sizes) - before, (sum(sizes) - before) / 1e6)
        progress.end()
    finally:
        journal.close()


def _read(journal: Journal, sizes: Sequence[int]) -> int:
    """Return how many bytes were read, about: how large a compressed file is shows at its end."""
    known = journal.gathered()
    return sum(
        sizes[number] if finished else min(offset, sizes[number]) for number, (offset, finished) in known.items()
    )


class _Here:
    """What a process that screens has at hand."""

    screener: Screener
    journal: Journal


_here = _Here()
_Screen = Callable[[Sequence[int]], Iterator[tuple[int, Found]]]


@contextmanager
def _processes(order: Order, working: Path, workers: int) -> Iterator[_Screen]:
    """Make the processes that screen; give the function that yields what they find, part by part, in any order."""
    _here.screener = order.screener()
    if workers == 1:
        _open(working)
        yield lambda parts: ((part, _part(part)) for part in parts)
        _here.journal.close()
        return
    # What is there already is for ever: no process copies it only because its own collector looked at it.
    gc.collect()
    gc.freeze()
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(working,)) as pool:
        pool.submit(os.getpid).result()  # the first task makes all processes
        yield lambda parts: _shared_out(pool, parts, workers)


def _shared_out(pool: ProcessPoolExecutor, parts: Sequence[int], workers: int) -> Iterator[tuple[int, Found]]:
    """Give each process a part and one in hand, and no more: what was found must not pile up."""
    waiting, running = iter(parts), dict[Future[Found], int]()
    try:
        while True:
            for part in waiting:
                running[pool.submit(_part, part)] = part
                if len(running) >= 2 * workers:
                    break
            if not running:
                return
            for one in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(one), one.result()
    except BrokenProcessPool:
        raise Unavailable(
            "A process that screened was ended from outside.",
            why="Usually the machine had no memory left.",
            remedy="Run the same command again, with fewer --workers: it goes on where it was.",
        ) from None


def _start(working: Path) -> None:
    """Begin in a process of its own; end when the one that made it is no more, even if it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    _open(working)


def _end_with(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)


def _open(working: Path) -> None:
    _here.journal = Journal(working, reading=True)


def _part(part: int) -> Found:
    """Screen the patients of one part."""
    counts: Counter[str] = Counter()
    sheets = []
    for patient, lines in _here.journal.patients(part):
        sheet = _here.screener.screen(patient, lines, _here.journal.medication)
        counts.update(sheet.counts)
        if sheet.lines or sheet.trouble:
            sheets.append(sheet)
    return sheets, counts
