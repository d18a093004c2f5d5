"""Client authentication of CDS Hooks: JSON Web Tokens of issuers that were listed, with keys that were listed."""

from cds_service.adapters.auth.issuers import Issuer, Issuers, read_issuers
from cds_service.adapters.auth.keys import Key, KeyStore, KeysUnavailable
from cds_service.adapters.auth.replays import Replays, ReplaysInMemory
from cds_service.adapters.auth.tokens import Refused, Verifier

__all__ = [
    "Issuer",
    "Issuers",
    "Key",
    "KeyStore",
    "KeysUnavailable",
    "Refused",
    "Replays",
    "ReplaysInMemory",
    "Verifier",
    "read_issuers",
]
