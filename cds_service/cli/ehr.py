"""The command that acts as an EHR: it calls any CDS Hooks service with a patient, and shows the cards."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from cds_service.adapters.ehr import Record, hook_request, read_patients
from cds_service.adapters.ehr.files import hook_of, read_json
from cds_service.cli import show
from cds_service.cli.options import FILE, hook_option, strict_option


@click.command()
@click.argument("url")
@click.option("--patient", "file", type=FILE, help="A Bundle, NDJSON, a folder of them, or a complete hook call.")
@click.option("--patient-id", help="The patient's id, where the file holds several or with --fhir.")
@click.option("--fhir", metavar="BASE", help="Read the patient from a FHIR server (token: environment CDS_FHIR_TOKEN).")
@click.option("--without-prefetch", is_flag=True, help="With --fhir: let the service read the server, with that token.")
@hook_option
@click.option("--service", "service_id", help="The service's id, where several answer the hook.")
@click.option("--user", default="Practitioner/example", show_default=True, help="The user who opens the chart.")
@click.option("--encounter", default="", help="The encounter's id, for hooks that play in one.")
@click.option(
    "--about",
    type=FILE,
    help="What the hook is about: an order, an appointment, a problem, or a Bundle [the record's unsigned orders].",
)
@click.option(
    "--save", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="Write the hook call here."
)
@strict_option
def fire(
    url: str, file: Path | None, patient_id: str | None, fhir: str | None, hook: str, service_id: str | None,
    user: str, encounter: str, about: Path | None, save: Path | None, strict_status: bool, without_prefetch: bool,
) -> None:  # fmt: skip
    """
    Act as an EHR: call a service and show its cards.

    URL is the address before /cds-services of any CDS Hooks service. The prefetch is built from the service's own
    discovery document. A token for the service is taken from the environment (CDS_CLIENT_TOKEN).
    """
    from cds_service.adapters.ehr.client import call_service, discover

    if file is not None and hook_of(file) and not file.is_dir():
        call = read_json(file)
        service = _service(discover(url), str(call["hook"]), service_id)
    else:
        service = _service(discover(url), hook, service_id)
        record = _record(file, patient_id, fhir, lenient=not strict_status)
        templates = {} if without_prefetch else _templates(service)
        given = _about(about) if about else None
        call = hook_request(
            hook, record, templates, user_id=user, encounter_id=encounter, fhir_server=fhir, about=given
        )
    if without_prefetch:
        call |= _authorization(fhir)
    if save:
        save.write_text(json.dumps(call, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    answer = call_service(url, service["id"], call, token=os.environ.get("CDS_CLIENT_TOKEN", ""))
    for line in (*_sent(service, call), *show.answer(answer.status, answer.body)):
        click.echo(line)
    click.echo(f"Answered {answer.status} in {answer.milliseconds:.0f} ms.")
    raise click.exceptions.Exit(0 if answer.status == 200 else 1)


def _templates(service: Mapping[str, Any]) -> dict[str, str]:
    return {key: text for key, text in (service.get("prefetch") or {}).items() if isinstance(text, str)}


def _authorization(fhir: str | None) -> dict[str, Any]:
    """Return what lets a service read the FHIR server, as CDS Hooks gives it; nothing where there is no token."""
    if fhir is None:
        raise click.UsageError("--without-prefetch needs --fhir: where else should the service read the patient?")
    token = os.environ.get("CDS_FHIR_TOKEN", "")
    about = {"token_type": "Bearer", "expires_in": 300, "scope": "patient/*.read", "subject": "calcinosis-cds"}
    return {"fhirAuthorization": {"access_token": token, **about}} if token else {}


def _about(path: Path) -> list[dict[str, Any]]:
    """Read the resources that a hook is about: one, or those of a Bundle."""
    document = read_json(path)
    if document.get("resourceType") != "Bundle":
        return [document]
    entries = [one for one in document.get("entry") or () if isinstance(one, dict)]
    return [one["resource"] for one in entries if isinstance(one.get("resource"), dict)]


def _service(services: list[dict[str, Any]], hook: str, service_id: str | None) -> dict[str, Any]:
    found = [one for one in services if one.get("hook") == hook and service_id in (None, one["id"])]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{one['id']} ({one.get('hook')})" for one in services) or "none"
    problem = "Several services answer" if found else "No service answers"
    raise click.UsageError(f'{problem} the hook "{hook}": choose with --hook and --service. Announced: {known}.')


def _record(file: Path | None, patient_id: str | None, fhir: str | None, *, lenient: bool) -> Record:
    if (file is None) == (fhir is None):
        raise click.UsageError("Say where the patient is: --patient FILE, or --fhir BASE with --patient-id ID.")
    if fhir is not None:
        from cds_service.adapters.ehr.client import HttpRecord

        if not patient_id:
            raise click.UsageError("--fhir needs --patient-id.")
        return HttpRecord(fhir, patient_id, token=os.environ.get("CDS_FHIR_TOKEN", ""))
    assert file is not None  # noqa: S101 - one of the two is there
    found = [one for one in read_patients(file, lenient_status=lenient) if patient_id in (None, one.patient_id)]
    if len(found) != 1:
        raise click.UsageError(f"{len(found)} patients fit: choose one with --patient-id.")
    return found[0]


def _sent(service: Mapping[str, Any], call: Mapping[str, Any]) -> Iterator[str]:
    """Show what was sent, key by key, in numbers only."""
    yield f"Service {show.plain(service['id'])}: {show.plain(str(service.get('title') or ''))}"
    for key, value in (call.get("prefetch") or {}).items():
        if value is None:
            yield f"  sent {key}: nothing there"
        elif isinstance(value, dict) and value.get("resourceType") == "Bundle":
            more = (
                " (more pages exist)" if any(link.get("relation") == "next" for link in value.get("link") or ()) else ""
            )
            yield f"  sent {key}: {len(value.get('entry') or ())} entries{more}"
        else:
            yield f"  sent {key}: {value.get('resourceType')}"
    yield ""
