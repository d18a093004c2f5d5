"""What is written down of an answered call: verdicts, evidence, facts; people as pseudonyms, no words of the record."""

from cds_service.recording.rows import Answered, CardRow, DecisionRow, facts_from
from cds_service.recording.writing import decision_row

__all__ = ["Answered", "CardRow", "DecisionRow", "decision_row", "facts_from"]
