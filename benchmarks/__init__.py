"""The figures that the README quotes, and the scripts that make them: `./lab bench`."""

NAMES = ("exactness", "grading", "overhead", "panels", "reachability", "verdicts")
"""The benchmarks, each a module of its own with a `main`."""
