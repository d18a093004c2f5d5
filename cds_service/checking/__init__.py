"""What a change is held against before it is saved: the examples beside each rule, and patients who stay silent."""

from cds_service.checking.checks import Checks, Example, Woken, checked
from cds_service.checking.silent import read_silent
from cds_service.checking.trying import as_if_always, before_and_after

__all__ = ["Checks", "Example", "Woken", "as_if_always", "before_and_after", "checked", "read_silent"]
