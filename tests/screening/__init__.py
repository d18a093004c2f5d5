"""A population in, findings out."""
