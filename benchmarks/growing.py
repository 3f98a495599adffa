"""A process that grows ten times a second, for a panel to look at.

    python -m benchmarks.growing pages | blocks | python

`pages` touches 200 MiB more and more, `blocks` adds to 10,000 blocks of malloc; `python` is this
process, with its hundreds of mappings. Prints the pid of what grows; ends with its standard input.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable

from lablib.apps import build_app
from lablib.steering import SteeredApp

INTERVAL_S = 0.1
_PAGES = (200 << 20) // 4096


def _repeat(pid: int, grow: Callable[[int], object]) -> None:
    """Call `grow` with 0, 1, 2 ... until standard input ends."""
    print(pid, flush=True)
    step = 0
    while not select.select([sys.stdin], [], [], INTERVAL_S)[0]:
        grow(step)
        step += 1


def _grow_pages(app: SteeredApp, step: int) -> None:
    first = _PAGES // 2 + 64 * step
    if first + 64 <= _PAGES:
        app.ask("touch_pages", first, 64)


def main() -> None:
    """Grow as the argument says."""
    kind = sys.argv[1]
    if kind == "python":
        import matplotlib.pyplot  # noqa: F401 - for its libraries

        held: list[bytes] = []
        _repeat(os.getpid(), lambda step: held.append(bytes(100_000 + step)))
        return
    with SteeredApp(build_app(kind)) as app:
        if kind == "pages":
            app.ask("reserve", _PAGES * 4096)
            app.ask("touch", 50)
            _repeat(app.pid, lambda step: _grow_pages(app, step))
        else:
            app.ask("allocate", 10_000, 1_000)
            app.ask("free_every", 3)
            _repeat(app.pid, lambda step: app.ask("allocate", 5, 1_000))


if __name__ == "__main__":
    main()
