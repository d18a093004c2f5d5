"""Calcinosis CDS: a CDS Hooks service for calcinosis cutis and calciphylaxis risk."""

__version__ = "0.1.0"
