"""What this machine can do, in a notebook: a card for each capability, filled in as it is tried."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from IPython.display import DisplayHandle

from lablib.doctor import PURPOSES, examine
from lablib.language import say, term
from lablib.records import Capability
from lablib.wording import count_of

# The colour is the least of it: the sign and the word say the same.
_SIGNS = {
    True: ("✓", term("works"), "#009E73"),
    False: ("✗", term("does not work"), "#D55E00"),
}
_WAITING = ("…", term("not tried yet"), "#777777")
_TRYING = ("▸", term("is being tried"), "#0072B2")
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
        return say("All {total} that were tried work.", total=total)
    return say(
        "{works} of {total} that were tried work; not: {missing}.",
        works=len(capabilities) - len(missing),
        total=total,
        missing=say(", ").join(missing),
    )


def _bundle(found: Sequence[Capability], trying: str) -> dict[str, Any]:
    return {"text/html": render_cards(found, trying), "text/plain": word_cards(found)}


def render_cards(found: Sequence[Capability], trying: str = "") -> str:
    """Return a card for each capability of the doctor's as HTML; `trying` is tried right now."""
    by_name = {capability.name: capability for capability in found}
    cards = "".join(_render_card(name, by_name.get(name), name == trying) for name in PURPOSES)
    done, total = len(found), len(PURPOSES)
    so_far = say("{done} of {total} tried.", done=done, total=total)
    said = summarise(found) if done == total else so_far
    return f'<p role="status"><b>{html.escape(said)}</b></p><div style="{_GRID}">{cards}</div>'


def _render_card(name: str, capability: Capability | None, is_tried_now: bool) -> str:
    if capability is None:
        sign, word, color = _TRYING if is_tried_now else _WAITING
    else:
        sign, word, color = _SIGNS[capability.works]
    lines = [
        f'<b style="font-size: 1.1em">{html.escape(name)}</b><br>'
        f'<span aria-hidden="true">{sign}</span> <b>{say(word)}</b>',
        html.escape(say("For: {purpose}", purpose=PURPOSES[name])),
    ]
    if capability is not None:
        told = say("Tried" if capability.works else "Why")
        lines.append(say("{label}: {text}", label=told, text=html.escape(say(capability.reason))))
        fix = say("What to do: {fix}", fix=_set_command(capability.fix))
        lines += [fix] if capability.fix else []
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
        fix = say(" What to do: {fix}", fix=capability.fix) if capability.fix else ""
        lines.append(
            say(
                "{sign} {name} {works}: {reason}.{fix}",
                sign=sign,
                name=capability.name,
                works=word,
                reason=capability.reason,
                fix=fix,
            )
        )
    return "\n".join([*lines, summarise(capabilities)]) if lines else say("Nothing was tried yet.")
