"""What in a curve tells which kind it is: the feedback on an answer, with the curve's numbers.

The first clues are about RSS alone, and say where that can't tell. The second ones know all that
was measured, and name what decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from lablib.language import say, term
from lablib.plots.lineup import describe_ages, describe_live, describe_resident
from lablib.teaching.classifier import KINDS, OPEN, Explain
from lablib.teaching.lineup import Suspect

_GOES_ON = term(
    "It rises to the end: what plateaus has stopped, and what was freed makes room for more."
)
_SAME = term(
    "Lost or still in use: RSS can't tell these two apart, both rise to the end. Leave it open."
)
_STOPPED = term("A leak goes on as long as the program works; this stopped while it worked.")
_STAYS = term("RSS only says that the pages stay. What they are used for is not in this curve.")

_OF_RESIDENT = {
    "leaking": {"growing": _SAME, OPEN: _SAME, "": _GOES_ON},
    "growing": {"leaking": _SAME, OPEN: _SAME, "": _GOES_ON},
    "plateau": {"leaking": _STOPPED, "growing": _STOPPED, "": _STAYS},
    "churn": {"leaking": _STOPPED, "growing": _STOPPED, "": _STAYS},
    "retention": {"leaking": _STOPPED, "growing": _STOPPED, "": _STAYS},
}
"""By what it is, and what was said; "" is anything else."""

_OF_ALL = {
    ("leaking",): term("Blocks are lost, and more and more: nobody can free them any longer."),
    ("growing",): term("It grows to the end, and something still points at every block."),
    ("plateau",): term("It has stopped. What it holds is old; nothing is lost, nothing is added."),
    ("plateau", "churn"): term(
        "It rose and is full: each new block now takes the place of an old one."
    ),
    ("churn",): term("Nearly all blocks are freed again, and what lives is young."),
    ("retention",): term("The live bytes fell and RSS did not: malloc keeps what was freed."),
}


def clues_in_resident(lineup: Sequence[Suspect]) -> Explain:
    """Return what tells a `Classifier`'s learner, by the curve of RSS alone."""
    by_letter = {suspect.letter: suspect for suspect in lineup}

    def explain(letter: str, said: str) -> str:
        suspect = by_letter[letter]
        clues = _OF_RESIDENT[suspect.kinds[0]]
        return f"{describe_resident(suspect.trace)} {say(clues.get(said, clues['']))}"

    return explain


def clues_in_all(lineup: Sequence[Suspect]) -> Explain:
    """Return what tells a `Classifier`'s learner, by all curves and the scans."""
    by_letter = {suspect.letter: suspect for suspect in lineup}

    def explain(letter: str, said: str) -> str:
        suspect = by_letter[letter]
        facts = f"{describe_live(suspect.trace)} {describe_ages(suspect.trace)}"
        name = say(" or ").join(say(KINDS[kind][0]) for kind in suspect.kinds)
        return say(
            "{name}. {clue} {facts}",
            name=name.capitalize(),
            clue=_OF_ALL[suspect.kinds],
            facts=facts,
        )

    return explain
