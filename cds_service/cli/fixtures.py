"""
Are the fixtures sound? Patients are checked against FHIR R4; hook calls are read as the service reads them.

What stands in the hook calls is not held to FHIR: some write what real EHRs send (Epic's ``category`` is an object).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from fhir.resources.R4B import get_fhir_model_class

from cds_service import decoding
from cds_service.adapters.ehr.files import patient_files, read_bytes, read_json
from cds_service.errors import CdsError
from cds_service.protocol import HookRequest


def faults(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the fixtures, place first."""
    for place in sorted(found for found in folder.glob("requests/*") if found.is_dir()):
        for path in patient_files(place):
            try:
                HookRequest.parse(read_bytes(path), place.name)
            except CdsError as problem:
                yield f"{path}\n  {problem.what} (at {problem.where})  [{problem.slug}]"
    for place in (folder / "patients", folder / "population"):
        for path in patient_files(place) if place.is_dir() else ():
            yield from _faults(path)


def _faults(path: Path) -> Iterator[str]:
    try:
        for number, resource in enumerate(_resources(path), 1):
            if wrong := fault(resource):
                yield f"{path}\n  resource {number}, {resource.get('resourceType')}/{resource.get('id')}: {wrong}"
    except CdsError as problem:
        yield str(problem)


def _resources(path: Path) -> Iterator[dict[str, Any]]:
    if ".ndjson" in path.suffixes:
        for line in read_bytes(path).splitlines():
            yield _object(line)
        return
    document = read_json(path)
    for entry in document.get("entry") or ():
        yield entry.get("resource") or {}


def _object(line: bytes) -> dict[str, Any]:
    try:
        return decoding.decode(line, dict[str, Any])
    except msgspec.DecodeError:
        return {}


def fault(resource: dict[str, Any]) -> str:
    """Say what keeps a resource from being FHIR R4; "" where nothing does."""
    try:
        get_fhir_model_class(str(resource.get("resourceType"))).model_validate(resource)
    except (KeyError, LookupError):
        return "this is no FHIR resource"
    except (ValueError, TypeError, RecursionError) as failure:
        details: list[Any] = getattr(failure, "errors", list)()
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in details[:3]) or str(failure)
    return ""
