"""Whether each link and picture of a site leads somewhere in it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lablib.errors import LabError

_MOST_SHOWN = 5


def check_links(folder: Path) -> None:
    """Raise `LabError` where `find_dead_links` finds something."""
    dead = find_dead_links(folder)
    if dead:
        shown = "; ".join(dead[:_MOST_SHOWN])
        more = f"; and {len(dead) - _MOST_SHOWN} more" if len(dead) > _MOST_SHOWN else ""
        raise LabError(
            f"the site was not built: links lead nowhere: {shown}{more}",
            "mend them in the notebooks, their translation, or the Markdown pages",
        )


def find_dead_links(folder: Path) -> list[str]:
    """Return the links of a folder's pages that lead to no file of it, or to no part of a page.

    Each is "PAGE: TARGET". Pictures, styles and scripts count too. What has an address of its own
    (https:, data:) is not followed.
    """
    root = folder.resolve()
    pages = {path: _read(path) for path in sorted(root.rglob("*.html"))}
    dead = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            leads = target.is_file() and root in target.parents
            if parts.fragment and target in pages:
                leads = leads and unquote(parts.fragment) in pages[target].ids
            if not (parts.scheme or parts.netloc or leads):
                dead.append(f"{path.relative_to(root)}: {link}")
    return dead


class _Page(HTMLParser):
    """What of a page can be led to, and where it leads."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element's id and its links."""
        for name, value in attrs:
            if name == "id":
                self.ids.add(value or "")
            elif name in ("href", "src") and not (value or "").startswith("data:"):
                self.links.append(value or "")


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text())
    return page
