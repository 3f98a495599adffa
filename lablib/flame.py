"""Where the live bytes of a heap were allocated, as a flame graph: one self-contained SVG.

A box is a function, its width the live bytes that were allocated in it or below it. Its caller is
the box beneath; the function that called the allocator is on top. Two frames that read the same are
one box, so two calls from one line are one as well.
"""

from __future__ import annotations

import colorsys
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heappop, heappush
from html import escape

from lablib.records import Frame, HeapSnapshot, StackUsage
from lablib.wording import count_of

ROOT = "all"
CALLERS_MISSING = "(callers missing)"
NO_FRAME = "(no frame could be read)"

WIDTH_PX = 1200
ROW_PX = 18
MIN_BOX_PX = 0.1
MAX_BOXES = 20_000
"""Of more boxes than this only the widest are drawn; no callee is wider than its caller."""

_HEAD_PX = 62
_MARGIN_PX = 6
_ROOM_PX = WIDTH_PX - 2 * _MARGIN_PX
_CHARACTER_PX = 7.3  # monospace, 12 px; each box clips its text, should a font be wider
_MIN_CHARACTERS = 3
_GAP_PX = 0.5
_SITES_DESCRIBED = 3
_NOTHING = "No bytes are live, so there is nothing to draw."
_UNPRINTABLE = re.compile("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Box:
    """One function in the flame graph, called through the boxes beneath it.

    `depth` counts rows from the root, which is 0. `start_bytes` is the distance of the left edge
    from that of the root; `width_bytes` and `blocks` are what is live of all that was allocated in
    it or below it. `label` reads "function (file:line)"; `module` is the file that holds the code,
    "" for the root and for what stands in for frames that are missing.
    """

    depth: int
    start_bytes: int
    width_bytes: int
    blocks: int
    label: str
    module: str = ""


def lay_out_flame(usages: Sequence[StackUsage]) -> tuple[Box, ...]:
    """Return the boxes of all stacks that hold live blocks, from left to right, callers first.

    The root is the first of them. Callees are in order of their labels. What a function allocated
    itself is at its left, with nothing on top. Blocks of no bytes (malloc(0)) make boxes of no
    width.
    """
    return _lay_out(usages, 0, None)[0]


def _lay_out(
    usages: Iterable[StackUsage], least_bytes: float, most_boxes: int | None
) -> tuple[tuple[Box, ...], int]:
    """Return the widest boxes, and how many were left out of those that stand on one of them.

    Widest first, so that what won't be drawn costs nothing: a caller comes before its callees.
    """
    stacks = [_Stack(usage) for usage in usages if usage.live_bytes > 0 or usage.live_blocks > 0]
    root = _make_box(0, 0, (ROOT, ""), stacks)
    waiting = [(-root.width_bytes, 0, 0, root, stacks)]
    boxes: list[Box] = []
    pushed = omitted = 0
    while waiting and len(boxes) != most_boxes:
        *_, box, stacks = heappop(waiting)
        boxes.append(box)
        start_bytes = box.start_bytes + box.width_bytes
        for name, callees in sorted(_group(stacks, box.depth).items(), reverse=True):
            start_bytes -= sum(stack.live_bytes for stack in callees)
            callee = _make_box(box.depth + 1, start_bytes, name, callees)
            if callee.width_bytes < least_bytes:
                omitted += 1
                continue
            pushed += 1
            heappush(waiting, (-callee.width_bytes, callee.depth, pushed, callee, callees))
    boxes.sort(key=lambda box: (box.start_bytes, box.depth))
    return tuple(boxes), omitted + len(waiting)


class _Stack:
    """A stack with its outermost caller first, and what stands in for frames that are missing."""

    __slots__ = ("live_blocks", "live_bytes", "path")

    def __init__(self, usage: StackUsage) -> None:
        self.live_bytes = usage.live_bytes
        self.live_blocks = usage.live_blocks
        self.path: list[Frame | str] = [CALLERS_MISSING] if usage.is_cut else []
        self.path += usage.frames[::-1] or [NO_FRAME]


def _group(stacks: Iterable[_Stack], depth: int) -> dict[tuple[str, str], list[_Stack]]:
    """Return the stacks that go on above the row `depth`, by the next box's label and module."""
    groups: dict[tuple[str, str], list[_Stack]] = {}
    for stack in stacks:
        if depth < len(stack.path):
            groups.setdefault(_name_step(stack.path[depth]), []).append(stack)
    return groups


def _make_box(depth: int, start_bytes: int, name: tuple[str, str], stacks: list[_Stack]) -> Box:
    width_bytes = sum(stack.live_bytes for stack in stacks)
    return Box(depth, start_bytes, width_bytes, sum(s.live_blocks for s in stacks), *name)


@lru_cache(maxsize=10_000)
def _name_step(step: Frame | str) -> tuple[str, str]:
    """Return a box's label and module; the offset tells frames apart only where no name does."""
    if isinstance(step, str):
        return step, ""
    if step.function is None:
        return f"[unknown] ({step.module}+{step.offset:#x})", step.module
    where = f"{step.file}:{step.line}" if step.file and step.line else step.module
    return f"{step.function} ({where}{', inlined' if step.inlined else ''})", step.module


def draw_flame(snapshot: HeapSnapshot, title: str) -> str:
    """Return the flame graph of a snapshot's live bytes as the text of an SVG file.

    It needs nothing from outside. Opened in a browser, a click on a box zooms into it, a click on
    the root or Escape zooms out; as an <img> it stands still and reads the same. What is too narrow
    to be drawn is counted in the description, and events that the tracer missed stand in the head.
    """
    total = snapshot.live_bytes
    boxes, omitted = _lay_out(snapshot.stacks, total * MIN_BOX_PX / _ROOM_PX, MAX_BOXES)
    boxes = boxes if total else ()
    height = _HEAD_PX + ROW_PX * (1 + max((box.depth for box in boxes), default=1)) + _MARGIN_PX
    summary, warning = _sum_up(snapshot)
    words = [summary, warning, *_describe(snapshot.stacks, boxes, omitted)]
    script = f"<script>{_SCRIPT}</script>" if boxes else ""
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" class="flame" role="img" width="{WIDTH_PX}" \
height="{height}" viewBox="0 0 {WIDTH_PX} {height}">
<title>{_clean(title)}</title>
<desc>Flame graph of a heap, by call stack. {_clean(" ".join(filter(None, words)))}</desc>
<style>{_STYLE}</style>
<rect class="page" width="100%" height="100%"/>
<text class="head" x="{_MARGIN_PX}" y="20">{_clean(title)}</text>
<text x="{_MARGIN_PX}" y="38">{summary}<tspan class="warning" dx="14">{warning}</tspan></text>
<text class="hint" x="{_MARGIN_PX}" y="55">{"" if boxes else _NOTHING}</text>
{"".join(_draw_box(box, total, height) for box in boxes)}{script}
</svg>
"""


def _sum_up(snapshot: HeapSnapshot) -> tuple[str, str]:
    """Return what is live, and a warning where the numbers are not complete, "" where they are."""
    live = f"{count_of(snapshot.live_bytes, 'byte')} in {count_of(snapshot.live_blocks, 'block')}"
    missed = snapshot.events.missed
    warning = f"NOT COMPLETE: {count_of(missed, 'event')} missed." if missed else ""
    return f"{live} live after {snapshot.elapsed_s:.1f} s.", warning


def _describe(usages: Iterable[StackUsage], boxes: Sequence[Box], omitted: int) -> list[str]:
    """Return sentences on the figure for those who don't see it, and on what is not in it."""
    if not boxes:
        return [_NOTHING]
    own_bytes: dict[str, int] = {}
    for usage in usages:
        label, _ = _name_step(usage.frames[0] if usage.frames else NO_FRAME)
        own_bytes[label] = own_bytes.get(label, 0) + usage.live_bytes
    largest = sorted(own_bytes.items(), key=lambda item: (-item[1], item[0]))[:_SITES_DESCRIBED]
    sites = [f"{label}, {count_of(own, 'byte')}" for label, own in largest if own]
    sentences = [
        "Each box is a function, its width what is live of what was allocated in it or below it.",
        "Its caller is beneath it; the function that called the allocator is on top.",
        f"Most is of {'; '.join(sites)}.",
    ]
    if omitted:
        least = min(box.width_bytes for box in boxes)
        sentences.append(
            f"Not drawn, for they are too narrow: {count_of(omitted, 'box')} "
            "and what stands on them;"
            f" the narrowest that is drawn has {count_of(least, 'byte')}."
        )
    return sentences


def _draw_box(box: Box, total_bytes: int, height: int) -> str:
    """Return a box as an SVG inside the SVG: that clips its text, and scales without a script."""
    scale = _ROOM_PX / total_bytes
    width = box.width_bytes * scale
    gap = _GAP_PX if width > 2 else 0
    y = height - _MARGIN_PX - (box.depth + 1) * ROW_PX
    share = 100 * box.width_bytes / total_bytes
    return (
        f'<svg x="{_MARGIN_PX + box.start_bytes * scale:.2f}" y="{y}" width="{width - gap:.2f}"'
        f' height="{ROW_PX}" data-at="{box.depth} {box.start_bytes} {box.width_bytes}">'
        f"<title>{_clean(box.label)}: {count_of(box.width_bytes, 'byte')} "
        f"in {count_of(box.blocks, 'block')}, {share:.1f} %</title>"
        f'<rect width="100%" height="{ROW_PX - 1}" {_paint(box)}/>'
        f'<text x="3" y="13">{_clean(_cut(box.label, width))}</text></svg>'
    )


def _cut(text: str, width_px: float) -> str:
    """Return as much of a text as fits, or "" where too little would be left to read."""
    room = int((width_px - 6) / _CHARACTER_PX)
    if len(text) <= room:
        return text
    return text[: room - 1] + "…" if room >= _MIN_CHARACTERS else ""


def _clean(text: str) -> str:
    """Return a text for XML: escaped, and without the characters that no XML file may hold."""
    return escape(_UNPRINTABLE.sub("\ufffd", text))


def _paint(box: Box) -> str:
    """Return a fill that is the same in every figure: a hue by module, a shade by function."""
    if not box.module:
        missing = "" if box.label == ROOT else ' stroke="#666" stroke-dasharray="4 2"'
        return f'fill="{"#dddddd" if box.label == ROOT else "#ffffff"}"{missing}'
    shade = zlib.crc32(box.label.split(" (")[0].encode("utf-8", "replace"))
    hue = zlib.crc32(box.module.encode("utf-8", "replace")) % 360 / 360 + shade % 41 / 250
    rgb = colorsys.hls_to_rgb(hue % 1, 0.74 + shade % 13 / 100, 0.75)
    return f'fill="#{"".join(f"{round(255 * part):02x}" for part in rgb)}"'


_STYLE = """
.flame text { font: 12px "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #111;
  white-space: pre; pointer-events: none; }
.flame .head { font-size: 15px; font-weight: bold; }
.flame .warning { font-weight: bold; fill: #a00000; }
.flame .hint { fill: #555; }
.flame .page { fill: #fff; }
.flame svg:hover rect { stroke: #111; }
.flame .beneath rect { opacity: 0.5; }
"""

# Its numbers are bytes, not pixels: a figure that is zoomed in is as exact as the whole.
_SCRIPT = f"""<![CDATA[
(() => {{
  const figure = document.currentScript.closest("svg");
  const hint = figure.querySelector(".hint");
  const room = {_ROOM_PX};
  const boxes = [...figure.querySelectorAll("svg")].map((element) => {{
    const [depth, start, width] = element.dataset.at.split(" ").map(Number);
    const about = element.querySelector("title").textContent;
    const label = about.slice(0, about.lastIndexOf(": "));
    const text = element.querySelector("text");
    return {{ element, depth, start, end: start + width, about, label, text }};
  }});
  const root = boxes[0];

  function write(box, pixels) {{
    const fits = Math.floor((pixels - 6) / {_CHARACTER_PX});
    const short = fits < {_MIN_CHARACTERS} ? "" : box.label.slice(0, fits - 1) + "…";
    box.text.textContent = box.label.length <= fits ? box.label : short;
  }}

  function zoom(to) {{
    const scale = room / (to.end - to.start);
    for (const box of boxes) {{
      const isBeneath = box.depth < to.depth && box.start <= to.start && to.end <= box.end;
      const isInside = box.depth >= to.depth && to.start <= box.start && box.end <= to.end;
      const shown = isBeneath ? to : box;
      const pixels = (shown.end - shown.start) * scale;
      box.element.style.display = isBeneath || isInside ? "" : "none";
      box.element.classList.toggle("beneath", isBeneath);
      if (!isBeneath && !isInside) continue;
      box.element.setAttribute("x", {_MARGIN_PX} + (shown.start - to.start) * scale);
      box.element.setAttribute("width", pixels > 2 ? pixels - {_GAP_PX} : pixels);
      write(box, pixels);
    }}
    hint.textContent = to === root
      ? "Click a box to zoom into it; point at it for its numbers."
      : to.about + " (click the bottom row or press Escape to see all)";
  }}

  for (const box of boxes) {{
    box.element.style.cursor = "pointer";
    box.element.addEventListener("click", () => zoom(box));
  }}
  document.addEventListener("keydown", (event) => {{ if (event.key === "Escape") zoom(root); }});
  zoom(root);
}})();
]]>"""
