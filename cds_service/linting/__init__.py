"""
What is wrong with what an EHR sends, or with what its FHIR server can do: for the person who connects it.

Pure, like the floors below: what is looked at is given, and what is found is said in plain sentences.
"""

from cds_service.linting.capability import judge, needs
from cds_service.linting.problems import Key, Problem, Report
from cds_service.linting.request import lint

__all__ = ["Key", "Problem", "Report", "judge", "lint", "needs"]
