"""The outside world: EHRs, files of patients, and (with their releases) tokens and the ledger."""
