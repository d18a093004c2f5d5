"""SMART App Launch as a public client: the EHR's authorization server, asked with PKCE, for one launch at a time."""

from cds_service.adapters.smart.client import Refused, SmartClient, SmartServer, Token

__all__ = ["Refused", "SmartClient", "SmartServer", "Token"]
