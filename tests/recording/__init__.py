"""What is written down of a decision."""
