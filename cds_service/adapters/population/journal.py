"""
The working file of one screening run: resources brought together by patient, and what was already found.

It is a SQLite database in the output folder. Resources are dealt by patient into parts of a few megabytes, so that one
part after another fits in memory (an external sort); what was read, and what was found, are written down together with
how far the run has come. Whoever kills the run loses nothing, and nothing is there twice.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from cds_service import decoding
from cds_service.adapters.population.files import Chunk, Input
from cds_service.adapters.population.lines import MEDICATION, Flaw, Line, medication_id, read
from cds_service.errors import CdsError

# How many bytes of resources one part holds, about; and how many are kept in memory before they are written.
PART, BUFFER = 8 * 1024 * 1024, 16 * 1024 * 1024
# What JSON in FHIR shrinks to, about: how large a .gz will be.
PACKED = 12
_SCHEMA = """
CREATE TABLE IF NOT EXISTS plan (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS source (number INTEGER PRIMARY KEY, offset INTEGER NOT NULL, finished INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS piece (place INTEGER PRIMARY KEY, part INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS medication (id TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS flaw (source INTEGER NOT NULL, offset INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS done (part INTEGER PRIMARY KEY, counts BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS sheet (patient TEXT PRIMARY KEY, urgency INTEGER NOT NULL, fired INTEGER NOT NULL,
  body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS trouble (patient TEXT PRIMARY KEY, reason TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS rank ON sheet (urgency DESC, fired DESC, patient);
"""
_BY_PART = "CREATE INDEX IF NOT EXISTS piece_of ON piece (part)"

Row = tuple[str, int, bytes]
_rows = decoding.unpacker(list[Row])
_counts = decoding.unpacker(dict[str, int])
_encode = msgspec.msgpack.Encoder().encode


class OtherRun(CdsError):
    """The output folder holds something else than the beginning of this very run."""

    slug = "other-run"


class Plan(msgspec.Struct, frozen=True):
    """
    What makes two runs the same: the same files and rules, asked in the same way; ``as_of`` is the day as asked.

    ``rules`` is the fingerprint of the rule files, ``decided`` what admins decided beside them (``Tuning.plain``).
    """

    program: str
    rules: str
    site: str
    as_of: str
    asked: dict[str, str]
    inputs: list[Input]
    decided: list[dict[str, Any]] = []

    def differs(self, other: Plan) -> list[str]:
        """Name what is not the same in another plan, as its user would say it."""
        said = {"program": "the program", "rules": "the rules", "site": "the site", "as_of": "the day (--as-of)"}
        different = [words for name, words in said.items() if getattr(self, name) != getattr(other, name)]
        different += ["the decisions of admins"] if self.decided != other.decided else []
        different += ["the options"] if self.asked != other.asked else []
        return different + (["the input files"] if self._files() != other._files() else [])

    def _files(self) -> list[tuple[str, int, int]]:
        """Return what the files are known by; where they lie is nobody's business."""
        return [(one.name, one.size, one.changed) for one in self.inputs]


class Sheet(msgspec.Struct, frozen=True):
    """
    What screening says of one patient.

    ``lines`` are the findings, one JSON object on each; ``urgency`` is that of the most urgent (0: none fired),
    ``fired`` how many fired. ``trouble`` says why the patient could not be looked at, "" if all went well.
    """

    patient: str
    urgency: int = 0
    fired: int = 0
    lines: bytes = b""
    counts: dict[str, int] = {}
    trouble: str = ""


class Journal:
    """One working file, opened by the process that writes it, or (``reading``) by one that only reads resources."""

    def __init__(self, path: Path, *, reading: bool = False) -> None:
        self.path = path
        # Autocommit: a transaction is where it is written, and nowhere else.
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA busy_timeout = 60000")
        if reading:
            self._database.execute("PRAGMA query_only = ON")
        else:
            path.chmod(0o600)
            self._database.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {_SCHEMA}")

    def close(self) -> None:
        """Close it; it stays where it is."""
        self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Everything inside is written, or nothing."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    # --- what this run is --------------------------------------------------------------------------------------------

    def begin(self, plan: Plan, moment: float) -> tuple[float, int]:
        """
        Write down what this run is, or find that it is the one that was begun here.

        Returns the moment as of which it looks at records, and in how many parts; both stay as they were when the run
        was begun. Raises OtherRun.
        """
        known = dict(self._database.execute("SELECT name, value FROM plan").fetchall())
        if known:
            different = plan.differs(decoding.decode(known["plan"], Plan))
            if different:
                raise other_run(different, self.path.parent.parent)
            return float(known["moment"]), int(known["parts"])
        size = sum(one.size * (PACKED if one.path.endswith(".gz") else 1) for one in plan.inputs)
        parts = max(1, -(-size // PART))
        values = {"plan": msgspec.json.encode(plan).decode(), "moment": repr(moment), "parts": str(parts)}
        with self._transaction():
            self._database.executemany("INSERT INTO plan VALUES (?, ?)", values.items())
        return moment, parts

    # --- resources, brought together by patient ----------------------------------------------------------------------

    def gather(self, plan: Plan, parts: int, kinds: frozenset[str]) -> Iterator[int]:
        """Read every file to its end, from where it was left; yield how many bytes of it were read, now and then."""
        known = {number: (offset, finished) for number, offset, finished in self._sources()}
        for number, one in enumerate(plan.inputs):
            offset, finished = known.get(number, (0, 0))
            if not finished:
                dealer = _Dealer(number, parts)
                for found in read(Chunk(one.path, number, offset), kinds):
                    dealer.add(found)
                    if dealer.size > BUFFER:
                        self._write(dealer, finished=False)
                        yield dealer.offset
                self._write(dealer, finished=True)
        self._database.execute(_BY_PART)

    def _sources(self) -> list[tuple[int, int, int]]:
        return self._database.execute("SELECT number, offset, finished FROM source").fetchall()

    def gathered(self) -> dict[int, tuple[int, bool]]:
        """Return for each file that was begun how many bytes of it were read, and whether that is all."""
        return {number: (offset, bool(finished)) for number, offset, finished in self._sources()}

    def _write(self, dealer: _Dealer, *, finished: bool) -> None:
        # One after the other, each forgotten once it is packed: nothing is in memory twice.
        pieces = ((part, _encode(dealer.rows.pop(part))) for part in sorted(dealer.rows))
        with self._transaction():
            execute = self._database.executemany
            execute("INSERT INTO piece (part, body) VALUES (?, ?)", pieces)
            execute("INSERT OR REPLACE INTO medication VALUES (?, ?)", dealer.medications.items())
            execute("INSERT INTO flaw VALUES (?, ?, ?)", [(dealer.number, f.offset, f.reason) for f in dealer.flaws])
            execute("INSERT OR REPLACE INTO source VALUES (?, ?, ?)", [(dealer.number, dealer.offset, finished)])
        dealer.forget()

    def patients(self, part: int) -> Iterator[tuple[str, list[bytes]]]:
        """Yield the patients of one part with their resources, in the order in which the files hold them."""
        found = self._database.execute("SELECT body FROM piece WHERE part = ? ORDER BY place", (part,))
        yield from by_patient([row for (body,) in found for row in _rows.decode(body)])

    def medication(self, reference: str) -> bytes | None:
        """Return the Medication that an order refers to, if there is one."""
        found = self._database.execute("SELECT body FROM medication WHERE id = ?", (medication_id(reference),))
        row = found.fetchone()
        return bytes(row[0]) if row else None

    # --- findings ----------------------------------------------------------------------------------------------------

    def done(self) -> set[int]:
        """Return the parts of which everything was found."""
        return {part for (part,) in self._database.execute("SELECT part FROM done")}

    def keep(self, part: int, sheets: Iterable[Sheet], counts: Mapping[str, int]) -> None:
        """Write down what was found in one part, and that it is done: both or neither."""
        listed = list(sheets)
        with self._transaction():
            self._database.execute("INSERT INTO done VALUES (?, ?)", (part, _encode(dict(counts))))
            self._database.executemany(
                "INSERT INTO sheet VALUES (?, ?, ?, ?)",
                [(one.patient, one.urgency, one.fired, one.lines) for one in listed if one.lines],
            )
            self._database.executemany(
                "INSERT INTO trouble VALUES (?, ?)", [(one.patient, one.trouble) for one in listed if one.trouble]
            )

    def note(self, flaws: Iterable[tuple[int, Flaw]]) -> None:
        """Write down lines that cannot be used, as (number of the file, flaw)."""
        with self._transaction():
            rows = [(number, flaw.offset, flaw.reason) for number, flaw in flaws]
            self._database.executemany("INSERT INTO flaw VALUES (?, ?, ?)", rows)

    def forget_flaws(self) -> None:
        """Forget which lines cannot be used, before all files are read again."""
        self._database.execute("DELETE FROM flaw")

    def is_screened(self) -> bool:
        """Say whether a cluster has screened everything."""
        return self._database.execute("SELECT 1 FROM plan WHERE name = 'screened'").fetchone() is not None

    def set_screened(self) -> None:
        """Write down that a cluster has screened everything."""
        self._database.execute("INSERT OR REPLACE INTO plan VALUES ('screened', '1')")

    def counts(self) -> Iterator[dict[str, int]]:
        """Yield what was counted in each part."""
        for (body,) in self._database.execute("SELECT counts FROM done"):
            yield _counts.decode(body)

    def sheets(self, *, ranked: bool = False, most: int = -1) -> Iterator[Sheet]:
        """Yield the patients of whom there is something to say: by id, or the most urgent first."""
        order = "urgency DESC, fired DESC, patient" if ranked else "patient"
        query = f"SELECT patient, urgency, fired, body FROM sheet ORDER BY {order} LIMIT ?"  # noqa: S608 - two fixed texts
        for patient, urgency, fired, body in self._database.execute(query, (most,)):
            yield Sheet(patient, urgency, fired, body)

    def flaws(self) -> Iterator[tuple[int, int, str]]:
        """Yield the lines that cannot be used: number of the file, where it begins, why."""
        yield from self._database.execute("SELECT source, offset, reason FROM flaw ORDER BY source, offset")

    def troubles(self) -> Iterator[tuple[str, str]]:
        """Yield the patients who could not be looked at, and why."""
        yield from self._database.execute("SELECT patient, reason FROM trouble ORDER BY patient")


class _Dealer:
    """Resources of one file, dealt into parts by the patient's id, until they are written."""

    def __init__(self, number: int, parts: int) -> None:
        self.number, self._parts, self.offset = number, parts, 0
        self.forget()

    def forget(self) -> None:
        self.rows: dict[int, list[Row]] = {}
        self.medications: dict[str, bytes] = {}
        self.flaws: list[Flaw] = []
        self.size = 0

    def add(self, found: Line | Flaw) -> None:
        self.offset = found.end
        if isinstance(found, Flaw):
            self.flaws.append(found)
            self.size += 64
        elif found.kind == MEDICATION:
            self.medications[found.owner] = found.body
            self.size += len(found.body)
        else:
            row = (found.owner, place_of(self.number, found.offset), found.body)
            self.rows.setdefault(part_of(found.owner, self._parts), []).append(row)
            self.size += len(found.body)


def part_of(patient: str, parts: int) -> int:
    """Return the part that a patient belongs to: the same in every run."""
    return zlib.crc32(patient.encode("utf-8", "surrogatepass")) % parts


def place_of(source: int, offset: int) -> int:
    """Return the place of a line among all lines of all files."""
    return (source << 44) + offset


def by_patient(rows: list[Row]) -> Iterator[tuple[str, list[bytes]]]:
    """Bring resources together by patient, each patient's in the order in which the files hold them."""
    rows.sort(key=lambda row: row[:2])
    for patient, group in groupby(rows, key=lambda row: row[0]):
        yield patient, [body for _, _, body in group]


def other_run(different: list[str], folder: Path) -> OtherRun:
    """Say that a folder holds another run, and what is different."""
    return OtherRun(
        "This folder holds another run.",
        where=str(folder),
        why=f"Not the same: {', '.join(different)}. Findings of two runs in one folder could not be told apart.",
        remedy="Name another folder with --output, or remove this one.",
    )
