"""Sections of docs/benchmarks.md: a module for each, with `FILES`, which results it shows, and `section`."""
