"""Screening on Dask: bags of packages, grouped by part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from cds_service.adapters.population import Journal, chunks_of
from cds_service.screening.engines import CHUNK, Cluster, Package, Task, answered, deal, keep, medications_in
from cds_service.screening.order import Order
from cds_service.screening.progress import Progress


def screen(order: Order, journal: Journal, parts: int, cluster: Cluster, working: Path, progress: Progress) -> None:
    """Screen on a cluster that runs already, or on one of processes on this machine."""
    from dask import bag
    from distributed import as_completed

    done = journal.done()
    task, chunks = Task.of(order, parts, done), chunks_of(order.plan.inputs, CHUNK)
    with _client(cluster, working) as client:
        files = bag.from_sequence(chunks, npartitions=len(chunks))
        [known] = client.scatter([dict(files.map(medications_in).flatten().compute())], broadcast=True)
        dealt = files.map(partial(deal, task)).flatten()
        grouped = dealt.groupby(_part, npartitions=parts + 1, shuffle="tasks")
        found = grouped.map_partitions(partial(_screen, task), known)
        progress.begin("Screening", parts, "patients", done=len(done))
        for future in as_completed(client.compute(found.to_delayed())):
            for part, body in future.result():
                progress.step(1, keep(journal, part, body))
            future.release()
        progress.end()


def _part(package: Package) -> int:
    return package[0]


def _screen(task: Task, groups: Iterable[tuple[int, list[Package]]], medications: Mapping[str, bytes]) -> list[Package]:
    return [
        found
        for part, packages in groups
        for found in answered(task, part, (body for _, body in packages), medications)
    ]


@contextmanager
def _client(cluster: Cluster, working: Path) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    if cluster.address:
        with Client(cluster.address) as client:
            yield client
        return
    # Everybody on this machine could talk to its processes, or read its pages: TLS with keys of its own, and no pages.
    with (
        LocalCluster(
            n_workers=cluster.workers,
            threads_per_worker=1,
            protocol="tls://",
            security=True,
            dashboard_address=None,
            local_directory=str(working),
        ) as local,
        Client(local) as client,
    ):
        yield client
