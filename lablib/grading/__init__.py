"""Judge a student's program by what it does, where it can do no harm."""
