"""
The EHR's side of CDS Hooks: a patient's record, searched as a FHIR server would, and the hook call built from it.

``client`` holds what needs the network; nothing else here does.
"""

from cds_service.adapters.ehr.files import UnreadableFile, open_patients, read_patients
from cds_service.adapters.ehr.record import FHIR_BASE, LocalRecord, Record, hook_request

__all__ = ["FHIR_BASE", "LocalRecord", "Record", "UnreadableFile", "hook_request", "open_patients", "read_patients"]
