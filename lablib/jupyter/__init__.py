"""JupyterLab as the lab runs it.

server.py     one set of options, for the learner and for the tests
workbook.py   open the workbook, with its address printed
settings/     defaults below the user's own
"""
