"""Presenter mode: slides of a notebook that run live in JupyterLab, with a recording at a key.

deck.py         a notebook's slides, from the metadata of its cells, each with its recording
notes.py        what the presenter says, from instructor/presenting.md
presenting.py   prepare a deck, and open it
extensions/     the extension of JupyterLab that shows slides; plain JavaScript, nothing is built
"""
