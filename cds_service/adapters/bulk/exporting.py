"""An export from its kick-off to the last file; whatever ends this process, the next goes on with the same export."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import quote

import msgspec

from cds_service import decoding
from cds_service.adapters import outbound
from cds_service.adapters.bulk.places import Place
from cds_service.adapters.bulk.talking import ExportFailed, Line, failed, pauses, wait_of
from cds_service.adapters.deadline import Deadline
from cds_service.adapters.outbound import Errand, Failed

__all__ = ["Export", "ExportFailed"]

STATE, FILES = "export.json", "files"
NDJSON = "application/fhir+ndjson"
# An export that is not ready after a day never will be; one file may take half of that, and all together this much.
READY, ONE_FILE, LARGEST = 24 * 3600.0, 12 * 3600.0, 500 * 1024**3
# Between two looks, where the server does not say (seconds); how many files and pages of them there may be.
LOOK, MOST_FILES, MOST_PAGES = 10.0, 100_000, 1_000
_KIND = re.compile(r"[A-Za-z]{1,64}")
_IS_NDJSON = re.compile(
    r"(?:application/(?:fhir\+ndjson|x-ndjson|ndjson|octet-stream)|binary/octet-stream|text/plain)\s*(?:;|\Z)",
    re.IGNORECASE,
)


class _File(msgspec.Struct):
    type: str = ""
    url: str = ""


class _Link(msgspec.Struct):
    relation: str = ""
    url: str = ""


class Manifest(msgspec.Struct):
    """What an export made: where its files lie, and those that say what could not be exported."""

    requiresAccessToken: bool = True
    output: list[_File] = []
    error: list[_File] = []
    link: list[_Link] = []


class State(msgspec.Struct):
    """How far an export has come: which one it is, where to ask how it goes, and its manifest once there is one."""

    source: str
    kinds: list[str]
    status: str = ""
    manifest: Manifest | None = None


class Export:
    """
    One export of some kinds of resources into a folder.

    ``tell`` says to whoever waits how it goes.
    """

    def __init__(self, line: Line, kinds: list[str], folder: Path, tell: Callable[[str], object]) -> None:
        self._line, self._kinds, self._folder, self._tell = line, sorted(kinds), folder, tell

    def run(self) -> Path:
        """Bring every file here, and return the folder they are in. Raises ExportFailed."""
        files = self._folder / FILES
        files.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = self._known()
        if state.manifest is None:
            if not state.status:
                state.status = self._begun()
                self._keep(state)
            state.manifest = self._ready(state)
            self._keep(state)
        wanted = [one for one in state.manifest.output if one.type in self._kinds]
        numbered = [*enumerate(wanted), *enumerate(state.manifest.error, MOST_FILES)]
        for number, one in numbered:
            name = f"{number:06d}.{one.type if _KIND.fullmatch(one.type) else 'file'}.ndjson"
            if not (files / name).exists():
                self._tell(f"Reading file {number % MOST_FILES + 1} of {len(wanted)}")
                self._download(one.url, files / name, signed=state.manifest.requiresAccessToken)
        self._tidy(state)
        return files

    def _known(self) -> State:
        new = State(self._line.places.kick_off.url, self._kinds)
        try:
            found = decoding.decode((self._folder / STATE).read_bytes(), State)
        except (OSError, msgspec.DecodeError):
            return new
        if (found.source, found.kinds) != (new.source, new.kinds):
            raise ExportFailed(
                "This folder holds an export from another server, or of other kinds of resources.",
                where=str(self._folder.parent),
                slug="other-run",
                remedy="Name another folder with --output, or remove this one.",
            )
        return found

    def _keep(self, state: State) -> None:
        """Write down how far it has come: whole or not at all."""
        partial = self._folder / f"{STATE}.part"
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(state))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._folder / STATE)

    def _begun(self) -> str:
        """Kick the export off; return where to ask how it goes."""
        kick_off = self._line.places.kick_off
        query = f"_outputFormat={quote(NDJSON, safe='/')}&_type={','.join(self._kinds)}"
        place = msgspec.structs.replace(kick_off, url=f"{kick_off.url}?{query}")
        answer = self._line.ask(place, accept="application/fhir+json", begins=True)
        status = answer.headers.get("content-location", "")
        if answer.status != 202:
            raise failed(f"kick-off-status-{answer.status}", "Can the server export, and may we ask it to?")
        if self._line.places.file(status) is None:
            raise failed(
                "status-address-not-permitted", "It has to lie on the FHIR server's host or in CDS_BULK_FILES."
            )
        return status

    def _ready(self, state: State) -> Manifest:
        """Ask again and again until the export is ready, and return what it made."""
        deadline, place = Deadline(READY, self._line.clock), self._place(state.status)
        while True:
            answer = self._line.ask(place)
            if answer.status == 200:
                return self._whole(_manifest(answer.body))
            if answer.status in (404, 410):
                state.status = ""
                self._keep(state)
                raise failed("export-gone", "The same command begins a new export.")
            if answer.status != 202:
                raise failed(f"export-status-{answer.status}")
            if deadline.passed:
                raise failed("export-never-ready")
            progress = answer.headers.get("x-progress", "")
            self._tell(f"The server prepares the export{_percent(progress)}")
            self._line.sleep(wait_of(answer.headers.get("retry-after", ""), self._line.now(), LOOK))

    def _whole(self, manifest: Manifest) -> Manifest:
        """Add the files on further pages of the manifest, and check that all of them may be read."""
        page = manifest
        for _ in range(MOST_PAGES):
            following = next((one.url for one in page.link if one.relation == "next"), "")
            if not following:
                break
            page = _manifest(self._line.ask(self._place(following)).body)
            manifest.output += page.output
            manifest.error += page.error
        else:
            raise failed("too-many-files")
        if len(manifest.output) > MOST_FILES or len(manifest.error) > MOST_FILES:
            raise failed("too-many-files")
        for one in (*manifest.output, *manifest.error):
            self._place(one.url)
        return manifest

    def _place(self, url: str) -> Place:
        place = self._line.places.file(url)
        if place is None:
            raise failed(
                "file-address-not-permitted", "Add the host of the files to CDS_BULK_FILES, if it may be asked."
            )
        return place

    def _download(self, url: str, path: Path, *, signed: bool) -> None:
        """Read one file to its end, or try again from its beginning; half a file is never taken for a whole one."""
        place, reason = self._place(url), ""
        for pause in pauses():
            reason, asked = self._copied(place, path, signed=signed)
            if not reason:
                return
            if pause < 0 or re.fullmatch(
                r"status-4(?!01|29)\d\d|redirect|not-ndjson|too-large|.*not-permitted", reason
            ):
                break
            if reason == "status-401":
                self._line.sign_out()
            self._line.sleep(wait_of(asked, self._line.now(), pause))
        raise failed(f"file-{reason}")

    def _copied(self, place: Place, path: Path, *, signed: bool) -> tuple[str, str]:
        """Return why a file could not be read ("" if it was), and how long the server wants to be left alone."""
        partial = path.with_name(f"{path.name}.part")
        errand = Errand(Deadline(ONE_FILE, self._line.clock), LARGEST)
        try:
            with (
                self._line.opened(place, errand, signed=signed, accept=NDJSON) as response,
                os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file,
            ):
                if 300 <= response.status_code < 400:
                    return "redirect", ""
                if response.status_code != 200:
                    return f"status-{response.status_code}", response.headers.get("Retry-After", "")
                if not _IS_NDJSON.match(response.headers.get("Content-Type", NDJSON)):
                    return "not-ndjson", ""
                if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                    return "compressed", ""
                for piece in outbound.pieces(response, errand, LARGEST):
                    _put(file, piece)
                file.flush()
                os.fsync(file.fileno())
        except Failed as problem:
            return problem.reason, ""
        partial.replace(path)
        return "", ""

    def _tidy(self, state: State) -> None:
        """Tell the server that it may remove its files; if it does not listen, they go when their time has come."""
        if state.status:
            place, state.status = self._place(state.status), ""
            self._keep(state)
            try:
                self._line.ask(place, method="DELETE")
            except ExportFailed:
                self._tell("The server was asked to remove its files, and did not answer.")


def _manifest(body: bytes) -> Manifest:
    try:
        return decoding.decode(body, Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise failed("manifest") from None


def _put(file: IO[bytes], piece: bytes) -> None:
    """Write a piece; a disk that is full is not the server's fault."""
    try:
        file.write(piece)
    except OSError as problem:
        raise failed(f"disk: {problem.strerror}") from None


def _percent(progress: str) -> str:
    """Return the percentage in an X-Progress, if there is one; whatever else it says is not shown."""
    found = re.search(r"\b(\d{1,3}(?:\.\d{1,4})?)\s?%", progress)
    return f": {found[1]} %" if found else ""
