"""`python -m lablib`: the verbs of ./lab."""

from lablib.cli import main

main()
