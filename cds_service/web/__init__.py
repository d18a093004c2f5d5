"""The web: Flask, and nothing but Flask. The clock is read here and nowhere below."""

from cds_service.web.app import create_app
from cds_service.web.settings import Settings

__all__ = ["Settings", "create_app"]
