"""
FHIR in, typed clinical facts out. Raw JSON ends here: above this floor only types travel.

What is set aside keeps a reason code; what was not loaded keeps its state. No clock: ``now`` is an argument.
"""

from cds_service.facts.intake import Policy, take_in
from cds_service.facts.model import Diagnosis, Facts, Measurement, Medication, Procedure, SetAside

__all__ = ["Diagnosis", "Facts", "Measurement", "Medication", "Policy", "Procedure", "SetAside", "take_in"]
