"""
Codes, concepts and units: what a word in a rule means in the codes that records hold.

Knows nothing of CDS Hooks, of rules or of patients. Reads its content once, from ``hooks/concepts``.
"""

from cds_service.terminology.book import Terminology, load
from cds_service.terminology.codes import CodeSystems, Coding
from cds_service.terminology.concepts import Concept, Match, Order
from cds_service.terminology.extending import extend
from cds_service.terminology.units import Analyte, Quantity, UnitTable

__all__ = [
    "Analyte",
    "CodeSystems",
    "Coding",
    "Concept",
    "Match",
    "Order",
    "Quantity",
    "Terminology",
    "UnitTable",
    "extend",
    "load",
]
