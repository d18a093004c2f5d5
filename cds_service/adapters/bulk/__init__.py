"""
A population from a FHIR server: Bulk Data $export (2.0), and SMART Backend Services to be let in.

Only listed addresses are ever contacted, redirects are not followed, and what comes is bounded.
"""

from cds_service.adapters.bulk.client import ClientKey, read_client_key
from cds_service.adapters.bulk.exporting import Export, ExportFailed
from cds_service.adapters.bulk.places import Places
from cds_service.adapters.bulk.talking import Line

__all__ = ["ClientKey", "Export", "ExportFailed", "Line", "Places", "read_client_key"]
