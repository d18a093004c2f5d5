"""Whole calls against whole answers: the golden answers, and one refusal for each way to be wrong."""
