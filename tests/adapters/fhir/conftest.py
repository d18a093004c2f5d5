"""A service that may ask one FHIR server (as in tests/faults)."""

from tests.faults.conftest import app_for

__all__ = ["app_for"]
