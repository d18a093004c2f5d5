"""Addresses as all spell them who mean the same (RFC 3986, 6.2)."""

from __future__ import annotations

from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}


def normal(url: str) -> str:
    """Return an address in one spelling: scheme and host in lower case, no default port, no slash at the end."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return url
    plain = url.isascii() and url.isprintable() and not set(url) & set(" @#?\\")
    scheme = parts.scheme.lower()
    if not plain or scheme not in PORTS or not parts.hostname:
        return url
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = f":{port}" if port is not None and port != PORTS[scheme] else ""
    return f"{scheme}://{host}{shown}{parts.path.removesuffix('/')}"
