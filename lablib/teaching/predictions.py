"""Predictions: made and kept before an experiment, and shown beside its result.

Whoever has committed to a number looks at the result in another way than whoever is told it. So a
button keeps the prediction, and then it can't be changed. What is kept, and the comparison, is
plain HTML and text: it stays when the notebook is saved and opened again, and when it is exported.

Checks of understanding need no library. In a notebook's text a question is followed by a
`<details>` for each choice: its summary is the choice, and in it stands why that is right
("Yes. ...") or what is wrong about it. So they work before any cell has run, by mouse and by
keyboard, in an exported page too, and no cell above them gives the answers away.
tests/unit/test_checks.py holds their form.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from lablib.errors import LabError
from lablib.language import Term, say, term
from lablib.teaching.choices import Choices
from lablib.wording import amount_of, name_unit

CLOSE = 0.1
"""How far a prediction may be from the result, as a share of the result, to be called close."""

_NUMBER = re.compile(
    r"[-+]?((\d{1,3}(,\d{3})+|\d+)(\.\d*)?|\.\d+)(e[-+]?\d+)?(?![\d.,])", re.IGNORECASE
)
_BYTE_UNIT = re.compile(r"([kmgt])(i?)b\b", re.IGNORECASE)
_SLIDER_STEPS = 100
_NONE_KEPT = term("No prediction was kept.")


def predict(
    question: str,
    unit: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
) -> Prediction:
    """Show a question with a field for the answer and a button that keeps it; return the answer.

    The answer is a number in `unit` (in the plural: "pages", "bytes / s"), typed in, or set by a
    slider where `low` and `high` are given; or one of `choices`. In the question, text between
    backquotes is set as code. Nothing waits: a cell that runs before the reader has answered finds
    no prediction, and `Prediction.compare` then says so.
    """
    if (low is None) != (high is None) or (low is not None and choices):
        raise ValueError("give low and high, or choices, or none of them")
    prediction = Prediction(question, unit, tuple(choices))
    asked = say(question)
    display(_Static(f"<p><strong>{_set_code(asked)}</strong></p>", asked))
    _Form(prediction, _make_field(prediction, low, high)).show()
    return prediction


class Prediction:
    """A question that the reader answers before the result is known; made by `predict`."""

    def __init__(self, question: str, unit: str = "", choices: tuple[str, ...] = ()) -> None:
        self.question = question
        self.unit = unit
        self.choices = choices
        self.value: float | str | None = None
        """What the reader keeps: a number in `unit` or one of `choices`; None until then."""
        self.on_kept: Callable[[], None] = lambda: None
        """Is called when a value has been kept."""

    def keep(self, answer: float | str) -> None:
        """Commit to an answer: a number, a text such as "1,024" or "2 MiB", or one of the choices.

        The button calls it; where a page shows no buttons, the reader does. Raises `LabError` for
        what is no answer, and when one is kept already.
        """
        if self.value is not None:
            raise LabError(
                term("a prediction is kept already: {answer}", answer=self.describe(self.value)),
                term("run the cell with the question again to make another"),
            )
        self.value = self._read(answer)
        self.on_kept()

    def compare(self, actual: float | str, tolerance: float = CLOSE) -> None:
        """Show the prediction beside the result, and `judge`'s sentence below."""
        said = say("none was kept") if self.value is None else say(self.describe(self.value))
        result, sentence = say(self.describe(self._read(actual))), self.judge(actual, tolerance)
        display(_set_side_by_side(say(self.question), said, result, sentence))

    def judge(self, actual: float | str, tolerance: float = CLOSE) -> str:
        """Return in a sentence how far the prediction is from the result.

        `actual` is a number in the prediction's unit, or one of its choices. A number that differs
        by at most `tolerance`, a share of the result, is called close. Raises `LabError` where
        `actual` is neither.
        """
        actual = self._read(actual)
        result = self.describe(actual)
        if self.value is None:
            return say("{none} The result is {result}.", none=_NONE_KEPT, result=result)
        if isinstance(self.value, str) or isinstance(actual, str):
            return say(
                "You were right." if self.value == actual else "You expected something else."
            )
        told = {"said": self.describe(self.value), "result": result}
        if told["said"] == result:
            return say("You said {said}, and that is right.", **told)
        told["distance"] = self._describe_distance(self.value, actual)
        if abs(self.value - actual) <= tolerance * abs(actual):
            return say("You said {said}; it was {result}: close, {distance}.", **told)
        return say("You said {said}; it was {result}: {distance}.", **told)

    def describe(self, answer: float | str) -> str:
        """Return an answer in words: a number with its unit, or a choice in quotes."""
        if isinstance(answer, str):
            return term("“{answer}”", answer=term(answer))
        return amount_of(answer, self.unit)

    def _describe_distance(self, said: float, actual: float) -> str:
        if said * actual <= 0:
            return _name_side(said, actual, amount_of(abs(said - actual), self.unit))
        ratio = said / actual
        if ratio >= 2:
            return term("your prediction is {times} the result", times=_times(ratio))
        if ratio <= 0.5:
            return term("the result is {times} your prediction", times=_times(1 / ratio))
        percent = 100 * abs(ratio - 1)
        share = f"{percent:.0f} %" if percent >= 1 else term("less than 1 %")
        return _name_side(said, actual, share)

    def _read(self, answer: float | str) -> float | str:
        if self.choices:
            if answer not in self.choices:
                options = say("; ").join(say(self.describe(choice)) for choice in self.choices)
                what = say("“{answer}” is not one of the choices", answer=answer)
                raise LabError(
                    what if answer else term("nothing is chosen"),
                    term("choose from {options}", options=options),
                )
            return answer
        number = parse_number(answer, self.unit) if isinstance(answer, str) else answer
        if not math.isfinite(number):
            raise LabError(term("{answer} is not a number that can be compared", answer=answer))
        return number


def _name_side(said: float, actual: float, distance: str) -> Term:
    if said < actual:
        return term("{distance} too low", distance=distance)
    return term("{distance} too high", distance=distance)


def _times(ratio: float) -> Term:
    if ratio == int(ratio):
        return term("{ratio} times", ratio=f"{ratio:,.0f}")
    return term("about {ratio} times", ratio=f"{ratio:,.1f}")


def parse_number(text: str, unit: str = "") -> float:
    """Return the number that a reader has typed, in `unit`; the unit may be repeated behind it.

    Commas stand between thousands only. Where the unit is bytes, "KiB" is 1,024 of them and "kB"
    is 1,000, and so on to "TiB" and "TB". Raises `LabError` for anything else.
    """
    typed = text.strip()
    number = _NUMBER.match(typed)
    if number is None or not _is_unit(rest := typed[number.end() :].strip(), unit):
        example = f"512 {unit}".strip()
        raise LabError(
            term("“{typed}” is not understood", typed=typed),
            term("write a number, such as {example} or 0.5", example=example),
        )
    scale = 1 if rest == unit else _scale_of(rest)
    value = float(number[0].replace(",", "")) * scale
    return int(value) if value.is_integer() else value


def _is_unit(text: str, unit: str) -> bool:
    if unit.startswith("bytes") and (scaled := _BYTE_UNIT.match(text)):
        return text[scaled.end() :].strip() in ("", unit.removeprefix("bytes").strip())
    one = amount_of(1, unit)
    return text in ("", unit) or f"1 {text}" in (one, say(one))


def _scale_of(unit: str) -> int:
    scaled = _BYTE_UNIT.match(unit)
    return (1024 if scaled[2] else 1000) ** ("kmgt".index(scaled[1].lower()) + 1) if scaled else 1


@dataclass(frozen=True, repr=False)
class _Static:
    """An output without a widget: nothing in it is lost when the kernel is gone."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def _set_side_by_side(question: str, said: str, result: str, sentence: str) -> _Static:
    columns = {say("Your prediction"): said, say("The result"): result}
    head, body = (
        "".join(f'<{tag} style="text-align: left">{html.escape(text)}</{tag}>' for text in row)
        for tag, row in (("th", columns), ("td", columns.values()))
    )
    return _Static(
        f"<p><strong>{_set_code(question)}</strong></p>"
        f"<table><thead><tr>{head}</tr></thead><tbody><tr>{body}</tr></tbody></table>"
        f"<p>{html.escape(sentence)}</p>",
        "\n".join(
            [
                question,
                *(say("{label}: {text}", label=name, text=text) for name, text in columns.items()),
                sentence,
            ]
        ),
    )


def _set_code(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


class _Form:
    """A field and the button that keeps its value; once kept, a text takes their place."""

    def __init__(self, prediction: Prediction, field: Any) -> None:
        self._prediction = prediction
        self._field = field
        self._button = widgets.Button(
            description=say("Keep my prediction"), layout=widgets.Layout(width="max-content")
        )
        self._button.on_click(self._keep)
        self._message = widgets.HTML()
        self._box = widgets.VBox([field, self._button, self._message])
        self._place: Any = None

    def show(self) -> None:
        """Display the form, until an answer is kept."""
        self._prediction.on_kept = self._lock
        self._place = display(self, display_id=True)

    def _keep(self, _: Any) -> None:
        try:
            self._prediction.keep(self._field.value)
        except LabError as error:
            self._message.value = f'<p role="alert">{html.escape(str(error))}</p>'

    def _lock(self) -> None:
        # A page that was loaded anew shows the widget, but gets no updates of the place.
        self._field.disabled = self._button.disabled = True
        kept = _describe_state(self._prediction)
        self._message.value = kept.html
        if self._place is not None:
            self._place.update(kept)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        bundle = dict(self._box._repr_mimebundle_(**options))
        state = _describe_state(self._prediction)
        return {**bundle, "text/plain": state.text, "text/html": state.html}

    def __repr__(self) -> str:
        return _describe_state(self._prediction).text


def _describe_state(prediction: Prediction) -> _Static:
    """Return what a page without widgets shows in the form's place."""
    if prediction.value is None:
        said = say(_NONE_KEPT)
    else:
        said = say("Your prediction: {answer}.", answer=prediction.describe(prediction.value))
    choices = [say(choice) for choice in prediction.choices]
    items = "".join(f"<li>{html.escape(choice)}</li>" for choice in choices)
    lines = [*(f"- {choice}" for choice in choices), said]
    return _Static(
        (f"<ul>{items}</ul>" if items else "") + f"<p>{html.escape(said)}</p>", "\n".join(lines)
    )


def _make_field(prediction: Prediction, low: float | None, high: float | None) -> Any:
    unit = name_unit(prediction.unit)
    label = say("Your prediction ({unit}):", unit=unit) if unit else say("Your prediction:")
    options: dict[str, Any] = {
        "description": label,
        "style": {"description_width": "initial"},
        "layout": widgets.Layout(width="max-content", max_width="100%"),
    }
    if prediction.choices:
        return Choices(prediction.choices, label)
    if low is None or high is None:
        return widgets.Text(placeholder=say("a number"), **options)
    options["layout"].width = "min(100%, 40em)"
    is_whole = isinstance(low, int) and isinstance(high, int)
    slider = widgets.IntSlider if is_whole else widgets.FloatSlider
    step = (high - low) / _SLIDER_STEPS
    return slider(
        min=low,
        max=high,
        value=round((low + high) / 2) if is_whole else (low + high) / 2,
        step=max(1, round(step)) if is_whole else step,
        **options,
    )
