"""The Memory Leak Lab's library: look into a Linux process's memory, and find what leaks.

Importing this package needs no root, no bcc and no Docker. Each module owns one concept; what is
missing on a machine becomes a `LabError` that names the command to run.
"""

__version__ = "0.1.0"
