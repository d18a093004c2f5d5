"""
A whole population in files (FHIR Bulk Data NDJSON): read line by line, brought together patient by patient.

Nothing here keeps more than a few megabytes in memory, however large the population is.
"""

from cds_service.adapters.population.files import Chunk, Input, chunks_of, inputs_of, line_numbers
from cds_service.adapters.population.journal import Journal, OtherRun, Plan
from cds_service.adapters.population.lines import MEDICATION, Flaw, Line, medication_id, read

__all__ = [
    "MEDICATION",
    "Chunk",
    "Flaw",
    "Input",
    "Journal",
    "Line",
    "OtherRun",
    "Plan",
    "chunks_of",
    "inputs_of",
    "line_numbers",
    "medication_id",
    "read",
]
