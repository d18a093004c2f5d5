"""
Rules: written by clinicians in YAML, compiled once, evaluated to YES, NO or UNKNOWN with the trail of evidence.

Pure: no clock, no network, no database. See ``hooks/README.md`` for the words.
"""

from cds_service.rules.book import RuleBook, load_book
from cds_service.rules.model import CardText, Outcome, Rule, Threshold
from cds_service.rules.shelf import Shelf

__all__ = ["CardText", "Outcome", "Rule", "RuleBook", "Shelf", "Threshold", "load_book"]
