"""What the clinical content promises: codes, rules and vignettes."""
