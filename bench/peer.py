"""
HealthChain with one rule that says what our flagship says, written as its documentation shows; from .venv/peers.

The rule reads the prefetch as it comes (plain dictionaries): HealthChain's FHIR models cost ten times as much.
"""

from __future__ import annotations

from typing import Any

from healthchain.gateway import CDSHooksService, HealthChainAPI  # type: ignore[import-not-found]
from healthchain.models import Card, CDSRequest, CDSResponse  # type: ignore[import-not-found]
from healthchain.models.responses.cdsresponse import Source  # type: ignore[import-not-found]

PATH = "/cds/cds-services/high-phosphate"
FAILURE, PHOSPHATE, LIMIT = ("N18.6", "Z99.2"), "2777-1", 5.5
service = CDSHooksService()


@service.hook("patient-view", id="high-phosphate")  # type: ignore[misc, untyped-decorator, unused-ignore]
def high_phosphate(request: CDSRequest) -> CDSResponse:
    """Kidney failure by diagnosis, and a newest phosphate above 5.5 mg/dL."""
    sent = request.prefetch or {}
    failing = any(code in FAILURE for one in _resources(sent, "conditions") for code in _codes(one))
    results = [one for one in _resources(sent, "observations") if PHOSPHATE in _codes(one)]
    newest = max(results, key=lambda one: str(one.get("effectiveDateTime", "")), default=None)
    if not failing or newest is None or newest["valueQuantity"]["value"] <= LIMIT:
        return CDSResponse(cards=[])
    said = f"Kidney failure with phosphate {newest['valueQuantity']['value']} mg/dL: calcification risk"
    return CDSResponse(cards=[Card(summary=said, indicator="warning", source=Source(label="bench"))])


def _resources(sent: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in (sent.get(key) or {}).get("entry", ())]


def _codes(resource: dict[str, Any]) -> list[str]:
    return [coding.get("code", "") for coding in resource["code"]["coding"]]


app = HealthChainAPI()
app.register_service(service)
