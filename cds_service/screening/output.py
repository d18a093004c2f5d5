"""
What a run leaves behind: findings for machines and for spreadsheets, problems, a summary and a worklist to print.

Files are written beside the working file, under their own names only once they are whole; all of them are for their
owner's eyes alone (0600), since they hold patients' data.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import msgspec

from cds_service import decoding
from cds_service.adapters.ledger.exporting import cell
from cds_service.adapters.population import Input, Journal, Plan, line_numbers
from cds_service.screening import deciding, pages
from cds_service.screening.one import Finding
from cds_service.screening.order import Order, service_of
from cds_service.screening.totals import Totals

_COLUMNS = tuple(field.name for field in msgspec.structs.fields(Finding))
_AT_ONCE = 10_000
# The file that is written last.
LAST = "summary.json"
_finding = decoding.decoder(Finding).decode
_encode = msgspec.json.Encoder().encode


class Ran(msgspec.Struct, frozen=True):
    """
    What the reader of a summary has to know about the run: which rules, as of when, from which files.

    ``rules`` is the fingerprint of the rule files, ``rule_book`` that of the rules that were asked; the two differ by
    ``decisions``, which are those of admins: with what each says, or why it was not followed.
    """

    program: str
    rules: str
    site: str
    as_of: str
    begun: str
    asked: dict[str, str]
    inputs: list[dict[str, str | int]]
    rule_book: str = ""
    decisions: list[dict[str, Any]] = []

    def plan(self) -> Plan:
        """Return the plan that was carried out."""
        inputs = [Input("", str(one["file"]), int(one["bytes"]), int(one["changed"])) for one in self.inputs]
        decided = [{name: one[name] for name in one if name not in deciding.SAID} for one in self.decisions]
        return Plan(self.program, self.rules, self.site, self.as_of, self.asked, inputs, decided)


class Summary(msgspec.Struct, frozen=True):
    """As much of the summary as says which run it is of."""

    run: Ran


class Done(msgspec.Struct, frozen=True):
    """What came of a run: how it was asked, what was counted, how many lines and patients could not be used."""

    ran: Ran
    totals: Totals
    problems: int


def write(journal: Journal, folder: Path, order: Order, *, most: int) -> Done:
    """Write every file of a finished run into a folder; ``most`` is how many patients the worklist shows."""
    totals, ran, service = Totals(journal.counts()), _ran(order), service_of(order.book())
    problems: Counter[str] = Counter()
    _written(folder / "findings.ndjson", lambda file: _copy(journal, file))
    _written(folder / "findings.csv", lambda file: _table(journal, file))
    if find_spec("pyarrow") is not None:
        _written(folder / "findings.parquet", lambda file: _parquet(journal, file))
    _written(folder / "problems.ndjson", lambda file: _problems(journal, order.plan.inputs, file, problems))
    shown = pages.Shown(msgspec.to_builtins(ran), totals, service, dict(problems))
    _written(
        folder / "worklist.html", lambda file: file.writelines(pages.worklist(shown, _ranked(journal, most), most))
    )
    _written(folder / "summary.html", lambda file: file.writelines(pages.summary(shown)))
    said = {"run": ran, **totals.as_json(service), "problems": dict(sorted(problems.items()))}
    # Last: where it stands, everything else does.
    _written(folder / LAST, lambda file: file.write(msgspec.json.format(_encode(said), indent=2) + b"\n"))
    return Done(ran, totals, problems.total())


def _ran(order: Order) -> Ran:
    plan = order.plan
    inputs: list[dict[str, str | int]] = [
        {"file": one.name, "bytes": one.size, "changed": one.changed} for one in plan.inputs
    ]
    begun = datetime.fromtimestamp(order.moment, UTC).isoformat(timespec="seconds")
    decisions, book = deciding.told(order), order.book().fingerprint
    return Ran(plan.program, plan.rules, plan.site, plan.as_of, begun, plan.asked, inputs, book, decisions)


def _written(path: Path, write_to: Callable[[IO[bytes]], Any]) -> None:
    """Write a file that is there whole or not at all, and that nobody else may read."""
    partial = path.with_name(f".{path.name}.part")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        write_to(file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _copy(journal: Journal, file: IO[bytes]) -> None:
    for sheet in journal.sheets():
        file.write(sheet.lines)


def findings(journal: Journal) -> Iterator[Finding]:
    """Yield every finding, in the order of the patients' ids."""
    for sheet in journal.sheets():
        yield from map(_finding, sheet.lines.splitlines())


def _table(journal: Journal, file: IO[bytes]) -> None:
    """Write CSV with a mark, by which spreadsheets know that it is UTF-8."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    table = csv.writer(text)
    table.writerow(_COLUMNS)
    for one in findings(journal):
        table.writerow([cell(value) for value in _row(one).values()])
    text.detach()


def _row(one: Finding) -> dict[str, str | int]:
    """Return a finding as one row: lists become text."""
    values = "; ".join(" ".join(filter(None, msgspec.structs.astuple(value))) for value in one.values)
    told = {"values": values, "reasons": "; ".join(one.reasons), "missing": "; ".join(one.missing)}
    return msgspec.structs.asdict(one) | told


def _parquet(journal: Journal, file: IO[bytes]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"version": pa.int64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in _COLUMNS])
    with parquet.ParquetWriter(file, schema) as writer:
        rows: list[dict[str, str | int]] = []
        for one in findings(journal):
            rows.append(_row(one))
            if len(rows) == _AT_ONCE:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows.clear()
        writer.write_table(pa.Table.from_pylist(rows, schema))


def _problems(journal: Journal, inputs: list[Input], file: IO[bytes], counted: Counter[str]) -> None:
    """Write what could not be used: lines by file and number, patients by id; each with a reason from a fixed list."""
    for number, group in groupby(journal.flaws(), key=lambda flaw: flaw[0]):
        reasons: dict[int, list[str]] = {}
        for _, offset, reason in group:
            reasons.setdefault(offset, []).append(reason)
        for offset, line in line_numbers(inputs[number].path, reasons):
            for reason in reasons[offset]:
                counted[reason] += 1
                file.write(_encode({"file": inputs[number].name, "line": line, "reason": reason}) + b"\n")
    for patient, reason in journal.troubles():
        counted["patient not screened"] += 1
        file.write(_encode({"patient": patient, "reason": reason}) + b"\n")


def _ranked(journal: Journal, most: int) -> Iterator[list[Finding]]:
    for sheet in journal.sheets(ranked=True, most=most):
        if sheet.fired:
            yield [_finding(line) for line in sheet.lines.splitlines()]
