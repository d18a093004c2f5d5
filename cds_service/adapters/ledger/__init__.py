"""The ledger: what was decided, what clinicians answered, what is quiet, what is switched off; on disk, for all."""

from cds_service.adapters.ledger.database import Database
from cds_service.adapters.ledger.keys import Key, check_key, known_key, read_key
from cds_service.adapters.ledger.ledger import Ledger, State
from cds_service.adapters.ledger.switches import Switch, Switches

__all__ = ["Database", "Key", "Ledger", "State", "Switch", "Switches", "check_key", "known_key", "read_key"]
