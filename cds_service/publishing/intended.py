"""
The intended use, in one text for every place that shows it, and what was said about it by regulators.

Consequences of KNOWLEDGE 8.1 (criteria 1 to 4 of FD&C Act 520(o)(1)(E)): no images or signals, clinicians only, options
instead of orders, the basis on every card.
"""

from __future__ import annotations

INTENDED_USE = (
    "Decision support for clinicians inside an EHR's workflow, for adults, and for children where a rule says so. "
    "It reads discrete results and coded data (never images, waveforms or other signals), offers options to consider, "
    "shows its basis, its sources and what it could not know, and never orders, signs or diagnoses. "
    "Not for emergencies or monitoring, not for patients' own use, not a validated medical device: a nephrologist and "
    "a dermatologist of the site must approve rules and thresholds before clinical use. Clinical judgement prevails."
)
INTENDED_USERS = (
    "Clinicians who care for the patient (physicians, nurse practitioners, physician assistants, pharmacists), inside "
    "the EHR's workflow. Not for patients or the public."
)
# KNOWLEDGE 8.2, last paragraph: kept as data, so that it can go when the rule is final.
REGULATORY_REMARKS = (
    (
        "Source attributes follow 45 CFR 170.315(b)(11) (ONC HTI-1), evidence-based decision support interventions; "
        "the wording of the 13 attributes is from memory of the rule, to be confirmed against the CFR. The duty falls "
        "on developers of certified health IT."
    ),
    (
        "HTI-5 (proposed, Federal Register 2025-12-29, comments closed 2026-02-27) would reduce (b)(11); no final rule "
        "was found. The attributes are kept as data, so that they can stay or go."
    ),
    "The rules are evidence-based: written by people from published sources, no trained model.",
)
UNVALIDATED_POINTS = (
    "Counts points that were derived by hand from published associations and never validated: no risk score. It may be "
    "a predictive intervention in the sense of 45 CFR 170.315(b)(11); treat it as one until counsel decides."
)
