"""What every panel has: a source of records, a thread that draws them, buttons, a line of words."""

from __future__ import annotations

import atexit
import html
import math
import threading
import time
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

import ipywidgets as widgets
from IPython.display import DisplayHandle
from matplotlib.figure import Figure

from lablib.errors import LabError
from lablib.language import Term, say, term
from lablib.panels.outputs import (
    name_running_cell,
    open_picture,
    put_picture,
    remove_picture,
    show_widget,
)
from lablib.panels.sources import Pace, Source, is_recording, open_source
from lablib.plots.lettering import letter
from lablib.wording import count_of

Record = TypeVar("Record")
Self = TypeVar("Self", bound="Panel[Any]")
JOIN_TIMEOUT_S = 5.0
READING_INTERVAL_S = 0.25
RATE_INTERVAL_S = 2.0
RATE_TOLERANCE = 0.15

_running: weakref.WeakSet[Panel[Any]] = weakref.WeakSet()
_by_cell: dict[str, tuple[str, weakref.WeakSet[Panel[Any]]]] = {}


SLOWED = term(": as often as 2 % of a processor allows")


class Rate:
    """How many records a second are drawn, measured every two seconds."""

    def __init__(self) -> None:
        self.per_s = 0.0
        self._count = 0
        self._since_s = math.inf

    def is_news(self, count: int) -> bool:
        """Take how many have been drawn so far; return whether `per_s` has become another."""
        now_s = time.monotonic()
        if count == 1:
            self._count, self._since_s = count, now_s
        seconds = now_s - self._since_s
        if seconds < RATE_INTERVAL_S:
            return False
        per_s = (count - self._count) / seconds
        self._count, self._since_s = count, now_s
        if abs(per_s - self.per_s) <= RATE_TOLERANCE * self.per_s:
            return False
        self.per_s = per_s
        return True


class Panel(Generic[Record]):
    """A live view of records in a notebook, drawn by a thread of its own, so that cells return.

    It has what moves (`view`), the numbers of the last record in words (`reading`), Start and Stop,
    and a line (`status`) that says whether this is live. When it ends it puts a picture of what was
    to be seen into the output of its cell. A subclass gives `_draw` and `_plot`.

    `recorded_on` says when and where the records were made if they aren't live. One thread runs at
    most; it ends with the source, on `stop`, when the cell is run again, and with the kernel.
    """

    hides_view_when_over = True

    def __init__(
        self,
        source: Source[Record],
        view: widgets.DOMWidget,
        title: str,
        interval_s: float,
        recorded_on: str,
    ) -> None:
        self.title = say(title)
        self.view = view
        self.interval_s = interval_s
        self.recorded_on = recorded_on
        self.is_live = not (recorded_on or is_recording(source))
        self._source = source
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._picture: DisplayHandle | None = None
        self._build()
        self._say(say("Not started."))

    def _build(self) -> None:
        self.start_button = widgets.Button(
            description=say("Start"),
            icon="play",
            tooltip=say("Start: {title}", title=self.title),
        )
        self.stop_button = widgets.Button(
            description=say("Stop"),
            icon="stop",
            tooltip=say("Stop, and leave a picture: {title}", title=self.title),
        )
        self.start_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.stop())
        self.stop_button.disabled = True
        self.status = widgets.HTML()
        self.reading = widgets.HTML()
        heading = widgets.HTML(f"<b>{html.escape(self.title)}</b>")
        buttons = widgets.HBox([self.start_button, self.stop_button, self.status])
        self.box = widgets.VBox([heading, buttons, self.reading, self.view])

    def _draw(self, record: Record) -> str:
        """Show a record in the view, and return it in words, as HTML."""
        raise NotImplementedError

    def _plot(self) -> tuple[Figure, str] | None:
        """Return a figure of what is to be seen and its description, None before any record."""
        raise NotImplementedError

    def _clear(self) -> None:
        """Forget the records of an earlier run."""

    @property
    def is_running(self) -> bool:
        """Whether its thread draws records now."""
        return self._thread is not None and self._thread.is_alive()

    def show(self, starts: bool = True) -> None:
        """Display the panel in the cell that runs and start it; those of an earlier run end."""
        self._take_cell()
        show_widget(self.box, say("{title}: moves while the notebook runs.", title=self.title))
        self._picture = open_picture()
        if starts:
            self.start()

    def start(self) -> None:
        """Draw the records, from the start of the source on; does nothing while it runs."""
        if self.is_running:
            return
        self._clear()
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._stopping,), name=f"panel: {self.title}", daemon=True
        )
        _running.add(self)
        self.start_button.disabled, self.stop_button.disabled = True, False
        self.view.layout.display = None
        if self._picture is not None:
            remove_picture(self._picture)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and leave the picture; safe at any time, and more than once."""
        was_running = self.is_running
        self._end_thread()
        if was_running:
            self._say(
                say("Stopped. Start begins anew; the picture stays when the notebook is saved.")
            )
        self._leave_picture()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the source has ended, and return whether it has."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        if self.is_running:
            return False
        self._leave_picture()
        return True

    def __enter__(self: Self) -> Self:
        """Display and start it."""
        self.show()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop it, so that the picture is there."""
        self.stop()

    def _run(self, stopping: threading.Event) -> None:
        """Draw record after record until the source or the panel ends: the thread's function."""
        said = say("The panel has failed; the error is below.")
        try:
            said = self._draw_all(stopping)
        except LabError as error:
            said = str(error)
        finally:
            if not stopping.is_set():
                self._say(said)
                self._leave_picture()
            self.start_button.disabled, self.stop_button.disabled = False, True

    def _draw_all(self, stopping: threading.Event) -> str:
        """Draw all records, and return the sentence for when the source has no more."""
        self._say(say(self._name_source()))
        pace, rate = Pace(self.interval_s, stopping), Rate()
        count, words, read_at_s = 0, "", -math.inf
        records: Iterator[Record] = open_source(self._source, pace)
        for record in records:
            if stopping.is_set():
                break
            words = self._draw(record)
            count += 1
            if self.is_live and rate.is_news(count):
                slowed = SLOWED if pace.is_slowed else ""
                self._say(say("Live, {rate:.2g} a second{slowed}.", rate=rate.per_s, slowed=slowed))
            if time.monotonic() - read_at_s >= READING_INTERVAL_S:
                self.reading.value, read_at_s = words, time.monotonic()
        self.reading.value = words
        return say(
            "The source has ended, after {records}."
            if self.is_live
            else "The recording is over, after {records}.",
            records=count_of(count, "record"),
        )

    def _name_source(self) -> Term:
        if self.is_live:
            return term("Live.")
        if not self.recorded_on:
            return term("Recorded, not live.")
        return term("Recorded on {day}, not live.", day=self.recorded_on)

    def _take_cell(self) -> None:
        """Belong to the cell that runs, and end the panels of an earlier run of it."""
        named = name_running_cell()
        if named is not None:
            cell, run = named
            run_before, panels = _by_cell.get(cell, (run, weakref.WeakSet[Panel[Any]]()))
            if run_before != run:
                for panel in list(panels - {self}):
                    panel._end_thread()
                panels = weakref.WeakSet()
            panels.add(self)
            _by_cell[cell] = (run, panels)

    def _end_thread(self) -> None:
        self._stopping.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(JOIN_TIMEOUT_S)

    def _say(self, sentence: str) -> None:
        self.status.value = f'<span role="status">{html.escape(sentence)}</span>'

    def _leave_picture(self) -> None:
        """Put the picture into the cell's output; what moved makes room for it."""
        plotted = self._plot() if self._picture is not None else None
        if plotted is not None and self._picture is not None:
            figure, description = plotted
            if not self.is_live:
                said = self._name_source()
                figure.text(0.995, 0.005, letter(said), ha="right", va="bottom", fontstyle="italic")
                description = f"{say(said)} {description}"
            put_picture(self._picture, figure, description)
            if self.hides_view_when_over:
                self.view.layout.display = "none"


@atexit.register
def _end_all() -> None:
    """End the threads with the kernel, before what they draw with is taken apart."""
    for panel in list(_running):
        panel._end_thread()
