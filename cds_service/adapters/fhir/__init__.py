"""The EHR's FHIR server, asked for what the prefetch lacks: never another host, never beyond the deadline."""

from cds_service.adapters.fhir.completing import Completed, Completing, Wanted
from cds_service.adapters.fhir.origins import Origins

__all__ = ["Completed", "Completing", "Origins", "Wanted"]
