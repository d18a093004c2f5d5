"""
The sandbox: an EHR to try the service with. A chart, hooks that fire as somebody works in it, and the cards beside it.

Off unless the settings say otherwise. The patients are invented, or those of a FHIR server that the settings allow.
Every hook goes through the service's own address, as the bytes an EHR sends; no card is made here.
"""

from cds_service.web.sandbox.marking import folded, visible
from cds_service.web.sandbox.pages import register

__all__ = ["folded", "register", "visible"]
