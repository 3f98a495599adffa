"""Unified patches, applied strictly: each line of a hunk must stand where the hunk says."""

import re

HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@")
FILE = re.compile(r"^--- (\S+)", re.MULTILINE)


def apply_patch(text, patch):
    """Return a text with a patch of it applied; raises `ValueError` where it does not fit.

    What stands before its first hunk is not looked at.
    """
    before, after, done = text.splitlines(keepends=True), [], 0
    for head, body in _split_hunks(patch):
        start, count = int(head[1]) - 1, int(head[2] or 1)
        removed, added = (
            "".join(each[1:] for each in body if each[0] in kinds) for kinds in (" -", " +")
        )
        if start < done or "".join(before[start : start + count]) != removed:
            raise ValueError(f"the patch does not fit: {head[0]}")
        after += [*before[done:start], added]
        done = start + count
    if not after:
        raise ValueError("the patch has no hunk")
    return "".join([*after, *before[done:]])


def _split_hunks(patch):
    hunks = []
    for line in patch.splitlines(keepends=True):
        head = HUNK.match(line)
        if head:
            hunks.append((head, []))
        elif hunks and line[0] in " -+":
            hunks[-1][1].append(line)
        elif hunks:
            raise ValueError(f"no line of a patch: {line!r}")
    return hunks
