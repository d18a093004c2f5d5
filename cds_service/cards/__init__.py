"""From findings to cards: wording, suggestions, and who speaks first. Text from the record is always neutralised."""

from cds_service.cards.writer import write_cards

__all__ = ["write_cards"]
