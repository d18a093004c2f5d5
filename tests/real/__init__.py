"""Records that we did not invent: MIMIC-IV demo and Synthea, read where they lie, never copied."""
