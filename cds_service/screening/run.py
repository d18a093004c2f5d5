"""One run from its beginning, or from where it was left, to its last file."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec

from cds_service import decoding
from cds_service.adapters.population import Journal, OtherRun, Plan
from cds_service.adapters.population.journal import other_run
from cds_service.screening import machine, output
from cds_service.screening.engines import LOCAL, Cluster, engine_of
from cds_service.screening.order import Order
from cds_service.screening.progress import Progress

# Where a run keeps what it needs to go on. When all is written it gets the other name, and is removed.
WORKING, OVER, LOCK, JOURNAL = ".screening", ".screening.over", "lock", "journal.db"
Tell = Callable[[str], object]


@contextmanager
def working_in(folder: Path) -> Iterator[Path | None]:
    """
    Make an output folder ready, and give the folder in which a run keeps what it needs; None if all is done.

    Nobody else may work in it meanwhile. Raises OtherRun where somebody does, or where it holds other things.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    working = folder / WORKING
    shutil.rmtree(folder / OVER, ignore_errors=True)
    if not working.exists() and (folder / output.LAST).exists():
        yield None
        return
    if not working.exists() and any(folder.iterdir()):
        raise OtherRun(
            "The output folder holds other things.", where=str(folder), remedy="Name an empty folder, or a new one."
        )
    working.mkdir(mode=0o700, exist_ok=True)
    with (working / LOCK).open("w") as lock:
        try:
            # Of this process alone: the processes it makes do not hold it, so a killed run can go on at once.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OtherRun("Another process is at work in this folder.", where=str(folder)) from None
        yield working


def run(
    order: Order, folder: Path, working: Path, cluster: Cluster, progress: Progress, tell: Tell, most: int
) -> output.Done:
    """
    Screen what an order names, and write what was found into a folder; ``most`` patients stand on the worklist.

    Raises OtherRun where the folder holds another run.
    """
    path = working / JOURNAL
    with closing(Journal(path)) as journal:
        moment, parts = journal.begin(order.plan, order.moment)
        done = len(journal.done())
    if done:
        tell(f"Going on with the run that was begun here: {done} of {parts} parts are done.")
    order = msgspec.structs.replace(order, moment=moment)
    if cluster.engine == LOCAL:
        machine.screen(order, path, parts, cluster.workers, progress)
    else:
        _elsewhere(order, path, parts, cluster, progress)
    with closing(Journal(path)) as journal:
        found = output.write(journal, folder, order, most=most)
    working.rename(folder / OVER)
    shutil.rmtree(folder / OVER)
    return found


def _elsewhere(order: Order, path: Path, parts: int, cluster: Cluster, progress: Progress) -> None:
    screen = engine_of(cluster)
    with closing(Journal(path)) as journal:
        if not journal.is_screened():
            journal.forget_flaws()  # every file is read again
            screen(order, journal, parts, cluster, path.parent, progress)
            journal.set_screened()


def check_complete(plan: Plan | None, folder: Path) -> str:
    """Return when the run began that is complete in a folder. Raises OtherRun where that is another one."""
    with suppress(OSError, msgspec.DecodeError):
        found = decoding.decode((folder / output.LAST).read_bytes(), output.Summary)
        different = ["the input is a server"] if plan is None else plan.differs(found.run.plan())
        if different:
            raise other_run(different, folder)
        return found.run.begun
    raise other_run(["it cannot be read"], folder)
