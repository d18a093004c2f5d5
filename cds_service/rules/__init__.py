"""
Rules: written by clinicians in YAML, compiled once, evaluated to YES, NO or UNKNOWN with the trail of evidence.

Pure: no clock, no network, no database. See ``hooks/README.md`` for the words.
"""

from cds_service.rules.book import RuleBook, Shelf, load_book
from cds_service.rules.model import CardText, Outcome, Rule, Threshold

__all__ = ["CardText", "Outcome", "Rule", "RuleBook", "Shelf", "Threshold", "load_book"]
