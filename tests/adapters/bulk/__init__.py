"""Exports from FHIR servers, as they are and as they misbehave."""
