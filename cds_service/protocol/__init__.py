"""
CDS Hooks 2.0.1 on the wire: requests in, discovery and cards out. Knows nothing of rules or of medicine.

Tolerant of what 1.0, 1.1 and the 3.0 ballot send; strict about what it writes.
"""

from cds_service.protocol.cards import Action, Card, Coding, Link, Response, Source, Suggestion, to_json
from cds_service.protocol.prefetch import State
from cds_service.protocol.request import HookRequest
from cds_service.protocol.service import Service, discovery

__all__ = [
    "Action",
    "Card",
    "Coding",
    "HookRequest",
    "Link",
    "Response",
    "Service",
    "Source",
    "State",
    "Suggestion",
    "discovery",
    "to_json",
]
