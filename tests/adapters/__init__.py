"""The EHR's side: records searched as a FHIR server would, patients from files, and calls over HTTP."""
