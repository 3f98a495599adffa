"""A page of HTML that stands alone: one file, which loads nothing and runs nothing."""

from __future__ import annotations

from html import escape

from lablib.language import reader_locale
from lablib.wording import make_printable

_TAGS = {"": "en", "zh_CN": "zh-Hans"}
_PAGE = """\
<!doctype html>
<html lang="{tag}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; line-height: 1.5; max-width: 64rem; margin: 2rem auto; \
padding: 0 1rem; color: #1a1a1a; background: #fff; }}
table {{ border-collapse: collapse; width: 100%; }}
caption {{ text-align: left; font-weight: bold; padding: .5rem 0; }}
th, td {{ border: 1px solid #767676; padding: .4rem .6rem; text-align: left; vertical-align: top; \
overflow-wrap: anywhere; }}
{style}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""


def make_document(title: str, body: str, style: str = "", locale: str | None = None) -> str:
    """Return the page with a title, which is a text, and a body, which is HTML.

    `style` are rules beside those of all pages. Without `locale` it is in the reader's language.
    """
    tag = _TAGS[reader_locale() if locale is None else locale]
    return _PAGE.format(tag=tag, title=escape(make_printable(title)), style=style, body=body)
