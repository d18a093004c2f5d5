"""Screening on Spark: rows of packages, repartitioned by part; the work is done in mapInArrow."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from cds_service.adapters.population import Chunk, Journal, chunks_of
from cds_service.screening.engines import CHUNK, Cluster, Task, answered, deal, keep, medications_in
from cds_service.screening.order import Order
from cds_service.screening.progress import Progress

_CHUNKS = "path string, number int, start long, end long"
_PACKAGES = "part int, body binary"
_MEDICATIONS = "id string, body binary"
# A package holds tens of kilobytes: a batch of Arrow holds so many at once.
_AT_ONCE = 64


def screen(order: Order, journal: Journal, parts: int, cluster: Cluster, working: Path, progress: Progress) -> None:
    """Screen on a Spark that runs already (spark://...), or on this machine."""
    from pyspark import StorageLevel

    done = journal.done()
    task, chunks = Task.of(order, parts, done), chunks_of(order.plan.inputs, CHUNK)
    with _session(cluster, working) as spark:
        rows = [(one.path, one.number, one.start, one.end) for one in chunks]
        files = spark.createDataFrame(rows, _CHUNKS).repartition(len(chunks))
        known = {row.id: bytes(row.body) for row in files.mapInArrow(_medications, _MEDICATIONS).toLocalIterator()}
        dealt = files.mapInArrow(lambda batches: _deal(task, batches), _PACKAGES)
        by_part = dealt.repartition(parts, "part").sortWithinPartitions("part")
        found = by_part.mapInArrow(lambda batches: _screen(task, known, batches), _PACKAGES)
        progress.begin("Screening", parts, "patients", done=len(done))
        # Found on all processors first: an iterator alone would ask for one partition after the other.
        found.persist(StorageLevel.DISK_ONLY).count()
        for row in found.toLocalIterator():
            progress.step(1, keep(journal, row.part, bytes(row.body)))
        progress.end()


def _medications(batches: Iterable[Any]) -> Iterator[Any]:
    return _packed((one for chunk in _chunks(batches) for one in medications_in(chunk)), ("id", "body"))


def _deal(task: Task, batches: Iterable[Any]) -> Iterator[Any]:
    return _packed((one for chunk in _chunks(batches) for one in deal(task, chunk)), ("part", "body"))


def _screen(task: Task, medications: Mapping[str, bytes], batches: Iterable[Any]) -> Iterator[Any]:
    packages = (
        (part, body)
        for batch in batches
        for part, body in zip(batch["part"].to_pylist(), batch["body"].to_pylist(), strict=True)
    )
    found = (
        one
        for part, group in groupby(packages, key=lambda package: package[0])
        for one in answered(task, part, (body for _, body in group), medications)
    )
    return _packed(found, ("part", "body"))


def _chunks(batches: Iterable[Any]) -> Iterator[Chunk]:
    return (Chunk(**row) for batch in batches for row in batch.to_pylist())


def _packed(rows: Iterable[tuple[Any, bytes]], names: tuple[str, str]) -> Iterator[Any]:
    """Put rows into batches of Arrow, few at a time."""
    import pyarrow as pa

    kinds = (pa.string() if names[0] == "id" else pa.int32(), pa.binary())
    waiting = iter(rows)
    while some := list(islice(waiting, _AT_ONCE)):
        columns = zip(zip(*some, strict=True), kinds, strict=True)
        yield pa.RecordBatch.from_arrays([pa.array(column, kind) for column, kind in columns], names=list(names))


@contextmanager
def _session(cluster: Cluster, working: Path) -> Iterator[Any]:
    from pyspark.sql import SparkSession

    # Without this the first python3 of the machine would be taken, which need not be ours.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    settings = {
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(_AT_ONCE),
        "spark.ui.showConsoleProgress": "false",
    }
    if not cluster.address:
        # Everybody on this machine could talk to its processes, or read its pages: a secret, and no pages.
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        settings |= {"spark.authenticate": "true", "spark.authenticate.secret": secrets.token_urlsafe(32)}
        settings |= {"spark.ui.enabled": "false", "spark.local.dir": str(working)}
        settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    builder = SparkSession.builder.appName("calcinosis-cds screen").master(
        cluster.address or f"local[{cluster.workers}]"
    )
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    try:
        yield spark
    finally:
        spark.stop()
