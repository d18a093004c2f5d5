"""A population in, findings out: every patient of a file or folder sent down the road that a hook call takes."""

from cds_service.adapters.ehr.cases import Case, Cases, open_cases
from cds_service.screening.local import Screened, Screening
from cds_service.screening.tally import Tally

__all__ = ["Case", "Cases", "Screened", "Screening", "Tally", "open_cases"]
