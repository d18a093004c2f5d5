"""
What the ledger tells about the rules: how often they speak and are answered, what changed, what nearly happened.

Pure: rows come in as numbers and codes, figures go out. Nobody's record is read but through pseudonyms, and no figure
names a patient.
"""

from cds_service.insight.events import Answer, Call, Glance
from cds_service.insight.figures import Figures
from cds_service.insight.of_rule import RuleFigures
from cds_service.insight.spark import spark

__all__ = ["Answer", "Call", "Figures", "Glance", "RuleFigures", "spark"]
