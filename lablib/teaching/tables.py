"""Tables in a notebook: rows under headings, as HTML and as plain text."""

from __future__ import annotations

import html
from collections.abc import Sequence

from IPython.display import display

from lablib.comparison import per_term
from lablib.language import Term, say, term
from lablib.plots.palette import CHUNK_STYLES, VMSTAT_STYLES
from lablib.plots.regions import name_segment
from lablib.records import AddressSpace, Comparison, HeapMap, Vma
from lablib.wording import format_size

_STYLES = {False: "text-align: left", True: "text-align: right; font-variant-numeric: tabular-nums"}


def show_table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str | int]]) -> None:
    """Display a table in the cell's output, with a header for each column and each row.

    The first cell of a row is its header. Numbers get commas, and stand at the right.

    It is shown in the reader's language: the caption, the columns, and cells of several words or
    made by `term`. A single word is a name, of a function or of a column, and stays as it is.
    """
    caption, columns = say(caption), [_say_column(column) for column in columns]
    rows = [[_say_cell(cell) for cell in row] for row in rows]
    data = {"text/html": _to_html(caption, columns, rows), "text/plain": _to_text(columns, rows)}
    display(data, raw=True)


def _say_column(column: str) -> str:
    return column if column in VMSTAT_STYLES else say(column)


def _say_cell(cell: str | int) -> str | int:
    return say(cell) if isinstance(cell, Term) or (isinstance(cell, str) and " " in cell) else cell


def show_comparison(comparison: Comparison) -> None:
    """Display what each call stack of two builds allocated and kept of a term."""
    rows = []
    for stack in comparison.stacks:
        costs = (stack.before, stack.after)
        allocated = [per_term(c.allocated_blocks if c else 0, comparison.terms) for c in costs]
        kept = [per_term(c.kept_bytes if c else 0, comparison.terms) for c in costs]
        what = stack.functions[0] if stack.functions else term("unknown")
        callers = ", ".join(stack.functions[1:3])
        called = term("{function}, called by {callers}", function=what, callers=callers)
        rows.append((called if callers else what, *allocated, *kept))
    terms = f"{comparison.terms:,}"
    caption = term("Of each of {terms} terms: before, and after the fix", terms=terms)
    columns = (
        term("call stack"),
        term("blocks, before"),
        term("after"),
        term("bytes kept, before"),
        term("after"),
    )
    show_table(caption, columns, rows)


def show_vmas(space: AddressSpace, kinds: Sequence[str] = (), caption: str = "") -> None:
    """Display the VMAs of a process that hold segments of these kinds, or all, by address.

    What is resident is told three times: RSS counts each page in full, PSS a page that n processes
    map as an n-th, and own is what this process alone has written or copied (Anonymous in smaps).
    """
    vmas = [vma for vma in space.vmas if not kinds or _kinds_of(space, vma) & {*kinds}]
    rows = [
        (
            _name_vma(space, vma),
            vma.permissions,
            *map(format_size, (vma.size_bytes, vma.rss_bytes, vma.pss_bytes, vma.anonymous_bytes)),
        )
        for vma in vmas
    ]
    columns = (term("what"), term("permissions"), term("size"), "RSS", "PSS", term("own"))
    show_table(caption or term("Process {pid}, by address", pid=space.pid), columns, rows)


def _kinds_of(space: AddressSpace, vma: Vma) -> set[str]:
    return {segment.kind for segment in space.segments if segment.vma.start == vma.start}


def show_chunks(caption: str, heap: HeapMap) -> None:
    """Display the chunks of a heap by address, each with its bytes and its state's name."""
    rows = [
        (f"{chunk.address:#x}", chunk.size_bytes, CHUNK_STYLES[chunk.state].label)
        for chunk in heap.chunks
    ]
    show_table(caption, (term("begins at"), term("bytes"), term("state")), rows)


def _name_vma(space: AddressSpace, vma: Vma) -> str:
    """Return what lies in a VMA, each kind once; what is only the rest of a page is left out."""
    inside = [segment for segment in space.segments if segment.vma.start == vma.start]
    told = [segment for segment in inside if segment.kind != "padding"] or inside
    return say(", ").join(dict.fromkeys(say(name_segment(segment)) for segment in told))


def _to_html(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str | int]]) -> str:
    is_right = [all(_is_number(row[place]) for row in rows) for place in range(len(columns))]
    head = "".join(
        f'<th scope="col" style="{_STYLES[right]}">{html.escape(column)}</th>'
        for column, right in zip(columns, is_right, strict=True)
    )
    body = "".join(f"<tr>{_row_to_html(row, is_right)}</tr>" for row in rows)
    return (
        f"<table><caption>{html.escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _row_to_html(row: Sequence[str | int], is_right: Sequence[bool]) -> str:
    cells = []
    for place, value in enumerate(row):
        tag, scope = ("td", "") if place else ("th", ' scope="row"')
        style = _STYLES[is_right[place]]
        cells.append(f'<{tag}{scope} style="{style}">{html.escape(_word(value))}</{tag}>')
    return "".join(cells)


def _to_text(columns: Sequence[str], rows: Sequence[Sequence[str | int]]) -> str:
    lines = [tuple(columns), *(tuple(map(_word, row)) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)


def _word(value: str | int) -> str:
    return f"{value:,}" if isinstance(value, int) else value


def _is_number(value: str | int) -> bool:
    return isinstance(value, int) or value.lstrip("+-")[:1].isdigit()
