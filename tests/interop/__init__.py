"""The service beside other people's software: FHIR servers, FHIR clients, and CDS Hooks clients."""
