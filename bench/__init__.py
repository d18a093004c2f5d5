"""Benchmarks of the whole service over HTTP."""
