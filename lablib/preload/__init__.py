"""Count a program's heap from inside it, without any privilege: for programs that the lab starts.

interposer/     the C that LD_PRELOAD brings into the program; one idea a file
building.py     compile it
layout.py       the memory that the program and the lab share, field by field
segment.py      make that memory, and read it while the program runs
interposer.py   what a program is started with: environment and segment
ledger.py       what the program has mapped by itself
session.py      a tracing session on it, as the tracer's client knows one
helper.py       a process that holds the program still while its memory is read
"""
