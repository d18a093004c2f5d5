"""The house rules of HOUSE.md, held by tests: floors, clock, code budget, packaging."""
