"""What is true of an app: the JSON beside its source, with its arithmetic done.

A number of the truth may be an expression in the program's own settings, the macros that stand at
the top of its source: "BUFFER_BYTES / BAD_EVERY". So it is exact for every setting.

    summary          what the program does, in a line
    is_leak          whether it leaks; `leaks` says where and how much
    family           what kind of leak, or of look-alike, it is
    rate             terms a second that show it well
    verdicts         the kinds of verdict that are right after ten seconds at that rate
    period           after how many terms it has done each of its different terms once
    settles_after    after how many terms it holds nothing new, leaks aside
    parameters       for each setting its values: the source's own, and those of variants
    names            for each name in the source those that a variant may have in its place
    leaks            function, file, line (all of the call that allocates), bytes_per_term,
                     blocks_per_term, and `what`: heap, mapping, thread_stack, open_files or
                     shared_memory; `defect` is the function to mend, where it is another one
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

WHAT_LEAKS = ("heap", "mapping", "thread_stack", "open_files", "shared_memory")

_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def resolve_truth(
    raw: Mapping[str, Any], numbers: Mapping[str, int], names: Mapping[str, str]
) -> dict[str, Any]:
    """Return the truth for these settings and names; both may leave out what is as in the source.

    Raises `ValueError` for an expression that is not plain arithmetic with known settings.
    """
    values = {name: choices[0] for name, choices in raw.get("parameters", {}).items()} | {**numbers}
    truth = dict(raw)
    for field, default in (("period", 1), ("settles_after", 0)):
        truth[field] = compute(raw.get(field, default), values)
    truth["leaks"] = [_resolve_leak(leak, values, names) for leak in raw["leaks"]]
    return truth


def compute(expression: str | int, values: Mapping[str, int]) -> int | float:
    """Return the value of an expression in these settings; it is exact, where it is whole.

    Raises `ValueError` for one that is not plain arithmetic with known settings.
    """
    exact = _evaluate(ast.parse(str(expression), mode="eval").body, values)
    return int(exact) if exact.denominator == 1 else float(exact)


def _resolve_leak(
    leak: Mapping[str, Any], values: Mapping[str, int], names: Mapping[str, str]
) -> dict[str, Any]:
    file = Path(leak["file"])
    functions = {role: leak[role] for role in ("function", "defect") if role in leak}
    return {
        **leak,
        **{role: names.get(function, function) for role, function in functions.items()},
        "file": f"{names.get(file.stem, file.stem)}{file.suffix}",
        "bytes_per_term": compute(leak["bytes_per_term"], values),
        "blocks_per_term": compute(leak["blocks_per_term"], values),
    }


def _evaluate(node: ast.expr, values: Mapping[str, int]) -> Fraction:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _evaluate(node.left, values), _evaluate(node.right, values)
        return Fraction(_OPERATORS[type(node.op)](left, right))
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return Fraction(node.value)
    if isinstance(node, ast.Name) and node.id in values:
        return Fraction(values[node.id])
    raise ValueError(f"not arithmetic with the program's settings: {ast.unparse(node)}")
