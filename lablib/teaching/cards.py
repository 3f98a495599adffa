"""What this machine can do, in a notebook: a card for each capability, filled in as it is tried."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from IPython.display import DisplayHandle

from lablib.doctor import PURPOSES, examine
from lablib.records import Capability
from lablib.wording import count_of

# The colour is the least of it: the sign and the word say the same.
_SIGNS = {True: ("✓", "works", "#009E73"), False: ("✗", "does not work", "#D55E00")}
_WAITING = ("…", "not tried yet", "#777777")
_TRYING = ("▸", "is being tried", "#0072B2")
_GRID = "display: grid; grid-template-columns: repeat(auto-fill, minmax(19em, 1fr)); gap: 0.8em"
_CARD = (
    "border: 1px solid var(--jp-border-color1, #bbb); border-left: 6px solid {color};"
    " border-radius: 4px; padding: 0.5em 0.8em; overflow-wrap: anywhere"
)


def show_examination() -> list[Capability]:
    """Try each capability, show its card as soon as it is known, and return them all.

    It takes some 15 seconds; see `lablib.doctor.examine`.
    """
    found: list[Capability] = []
    place = DisplayHandle()
    place.display(_bundle(found, ""), raw=True)

    def keep(capability: Capability) -> None:
        found.append(capability)
        place.update(_bundle(found, ""), raw=True)

    return examine(lambda name: place.update(_bundle(found, name), raw=True), keep)


def summarise(capabilities: Sequence[Capability]) -> str:
    """Return in a sentence how many of them work, and what the others are."""
    missing = [capability.name for capability in capabilities if not capability.works]
    total = count_of(len(capabilities), "thing")
    if not missing:
        return f"All {total} that were tried work."
    works = len(capabilities) - len(missing)
    return f"{works} of {total} that were tried work; not: {', '.join(missing)}."


def _bundle(found: Sequence[Capability], trying: str) -> dict[str, Any]:
    return {"text/html": render_cards(found, trying), "text/plain": word_cards(found)}


def render_cards(found: Sequence[Capability], trying: str = "") -> str:
    """Return a card for each capability of the doctor's as HTML; `trying` is tried right now."""
    by_name = {capability.name: capability for capability in found}
    cards = "".join(_render_card(name, by_name.get(name), name == trying) for name in PURPOSES)
    done = len(found)
    said = summarise(found) if done == len(PURPOSES) else f"{done} of {len(PURPOSES)} tried."
    return f'<p role="status"><b>{html.escape(said)}</b></p><div style="{_GRID}">{cards}</div>'


def _render_card(name: str, capability: Capability | None, is_tried_now: bool) -> str:
    if capability is None:
        sign, word, color = _TRYING if is_tried_now else _WAITING
    else:
        sign, word, color = _SIGNS[capability.works]
    lines = [
        f'<b style="font-size: 1.1em">{html.escape(name)}</b><br>'
        f'<span aria-hidden="true">{sign}</span> <b>{word}</b>',
        f"For: {html.escape(PURPOSES[name])}",
    ]
    if capability is not None:
        told = "Tried" if capability.works else "Why"
        lines.append(f"{told}: {html.escape(capability.reason)}")
        lines += [f"What to do: {_set_command(capability.fix)}"] if capability.fix else []
    return f'<div style="{_CARD.format(color=color)}">{"<br>".join(lines)}</div>'


def _set_command(fix: str) -> str:
    """Return a fix with its command, which follows "run: ", as code that can be copied."""
    words, run, command = fix.partition("run: ")
    return html.escape(words + run) + (f"<code>{html.escape(command)}</code>" if run else "")


def word_cards(capabilities: Sequence[Capability]) -> str:
    """Return the cards as text, a line each."""
    lines = []
    for capability in capabilities:
        sign, word, _ = _SIGNS[capability.works]
        fix = f" What to do: {capability.fix}" if capability.fix else ""
        lines.append(f"{sign} {capability.name} {word}: {capability.reason}.{fix}")
    return "\n".join([*lines, summarise(capabilities)]) if lines else "Nothing was tried yet."
