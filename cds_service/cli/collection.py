"""The command that writes the collections of requests to try."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from cds_service.adapters.ehr.files import patient_files, read_json
from cds_service.cli.options import book_of, content_options, settings
from cds_service.errors import SettingsError
from cds_service.publishing.collection import Request, http_file, postman, requests
from cds_service.rules.book import RuleBook
from cds_service.web.settings import packaged

HTTP, POSTMAN = "calcinosis-cds.http", "calcinosis-cds.postman_collection.json"
FLAGSHIP, OWN = "dialysis-high-phosphate", "calcinosis-icd-only-no-labs"


@click.command()
@click.argument("target", type=click.Path(exists=True, file_okay=False, path_type=Path))
@content_options
def collection(target: Path, content: Path | None, site: str | None) -> None:
    """
    Write collections of requests to try.

    Into the folder TARGET: an HTTP file for editors, and a collection for Postman. `make docs` writes those in docs/.
    """
    for name, text in files(book_of(settings(content, site))).items():
        (target / name).write_text(text, encoding="utf-8")
        click.echo(target / name)


def files(book: RuleBook) -> dict[str, str]:
    """Return the collections by their file names."""
    listed = listed_requests(book)
    return {HTTP: http_file(listed), POSTMAN: json.dumps(postman(listed), indent=2, ensure_ascii=False) + "\n"}


def listed_requests(book: RuleBook) -> list[Request]:
    """Return the requests of the collections, with the calls of the cast as examples."""
    folder = packaged("fixtures") / "requests"
    if not folder.is_dir():
        raise SettingsError("The fixtures are not there, whose calls are the examples.", slug="no-fixtures")
    services = [one.service for one in book.services.values()]
    calls = {one.hook: _example(folder / one.hook) for one in services if (folder / one.hook).is_dir()}
    return requests(services, calls, read_json(folder / "patient-view" / f"{OWN}.json"))


def _example(folder: Path) -> dict[str, Any]:
    """Return the call of the demo's patient, or the last by name: those of the healthy come early."""
    found = {path.stem: path for path in patient_files(folder)}
    return read_json(found.get(FLAGSHIP) or found[max(found)])
