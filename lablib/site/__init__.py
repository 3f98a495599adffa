"""The workbook as a site: static HTML that needs no server, no network and no lab.

editions.py    the languages, and what the frame of a page says in each
sources.py     which files become pages, and where they lead
running.py     run notebooks for their outputs, or take those of the last time
rendering.py   a notebook or a Markdown file as a page's content
searching.py   the index that a page's search reads
checking.py    whether each link leads somewhere
building.py    all of it, into a folder
page.html      the frame; site.css and site.js lie beside the pages
"""

from lablib.site.building import Site, build_site
from lablib.site.editions import Edition, make_editions

__all__ = ["Edition", "Site", "build_site", "make_editions"]
