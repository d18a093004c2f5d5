"""What the ledger holds, for other tools: JSON lines, or CSV that no spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
from sqlalchemy import FromClause, select

from cds_service import decoding
from cds_service.adapters.governance.tables import audit
from cds_service.adapters.governance.tables import decided as changes
from cds_service.adapters.ledger.database import Database
from cds_service.adapters.ledger.schema import cards, decisions, feedback, switches

_PATIENCE = 3_600.0
# What is exported, the column by which a time is asked for, and the columns that are not shown.
KINDS: dict[str, tuple[FromClause, str, tuple[str, ...]]] = {
    "decisions": (decisions, "at", ("number",)),
    "cards": (cards, "at", ("number", "seen")),
    "feedback": (feedback, "received", ("number", "seal")),
    "switches": (switches, "at", ("number",)),
    # What they are known by, and for the audit what shows that none is missing, is part of them.
    "changes": (changes, "at", ()),
    "audit": (audit, "at", ()),
}
_MOMENTS = ("at", "received", "ruled_at")
# How spreadsheets recognise a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def export(
    database: Database, what: str, since: float, until: float, *, facts: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a kind from one moment up to, and not with, another, oldest first."""
    table, when, hidden = KINDS[what]
    found = select(table).where(table.c[when] >= since, table.c[when] < until).order_by(table.c.number)
    with database.reading(patience=_PATIENCE) as connection:
        for row in connection.execute(found.execution_options(yield_per=500)).mappings():
            shown = {name: value for name, value in row.items() if name not in hidden}
            yield _readable(shown, facts=facts)


def _readable(row: dict[str, Any], *, facts: bool) -> dict[str, Any]:
    for name in _MOMENTS:
        if row.get(name) is not None:
            row[name] = moment(row[name])
    if "content" in row:
        row["content"] = decoding.decode(row["content"])
        packed = row.pop("facts")
        if facts and packed:
            row["facts"] = decoding.decode(zlib.decompress(packed))
    return row


def moment(at: float) -> str:
    """Show a moment; one that no calendar has stays a number."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return str(at)


def write_lines(rows: Iterator[dict[str, Any]], file: TextIO) -> int:
    """Write rows as JSON, one a line; return how many."""
    return sum(bool(file.write(msgspec.json.encode(row).decode() + "\n")) for row in rows)


def write_csv(rows: Iterator[dict[str, Any]], what: str, file: TextIO) -> int:
    """Write rows as CSV (RFC 4180); return how many."""
    table, _, hidden = KINDS[what]
    names = [column.name for column in table.columns if column.name not in (*hidden, "facts")]
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(names)
    return sum(bool(writer.writerow([cell(row.get(name, "")) for name in names])) for row in rows)


def cell(value: Any) -> str:
    """Return a cell that a spreadsheet shows as it stands (SECURITY.md 4)."""
    text = msgspec.json.encode(value).decode() if isinstance(value, list | dict) else str(value)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
