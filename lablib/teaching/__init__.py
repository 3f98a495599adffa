"""What the notebooks teach with: predictions, tables, cards, and experiments live or recorded.

predictions.py  made and kept before an experiment, shown beside its result
experiments.py  run under the tracer, or shown from a recording that says so
tables.py       rows under headings
capped.py       eaters in a group with a limit, shown while they take steps
heap_watch.py   an app's heap while the notebook goes on, live or recorded
places.py       which segment an object lies in, and what has changed
lineup.py       several programs traced at once, under letters
classifier.py   which kind of curve is it: a blind test with a score
clues.py        what in a curve tells it
heap_use.py     live bytes beside resident bytes, step by step
machine.py      vmstat's columns, and how they have changed
cards.py        what this machine can do
lessons.py      the notebooks themselves
labs.py         a graded lab in its notebook: looked at, answered, judged outside of the kernel
lab_runs.py, lab_questions.py, lab_reports.py  its program watched, its questions, its check
incident_room.py  an incident: its clock, its service, its timeline and its post-mortem
choices.py      one of several answers, by radio buttons
tool_board.py   tools and programs: a matrix to predict, to run, and to look into
tool_inspection.py  a cell of it: what was read, beside what the tool wrote
scripts.py      what the tables of choices send to the browser
tool_guide.py   which tool in which situation
tool_tables.py  the tools, the programs, and what each tool asks for
"""

from lablib.teaching.capped import run_capped, show_badness, steer_group
from lablib.teaching.cards import show_examination
from lablib.teaching.classifier import Classifier
from lablib.teaching.clues import clues_in_all, clues_in_resident
from lablib.teaching.experiments import run_or_replay, trace_during
from lablib.teaching.heap_use import follow_heap
from lablib.teaching.heap_watch import HeapWatch
from lablib.teaching.incident_room import open_room
from lablib.teaching.labs import open_lab
from lablib.teaching.lessons import show_lessons
from lablib.teaching.lineup import (
    draw_lineup,
    observe_eight,
    show_answers,
    show_blocks,
    show_in_time,
    take_first,
)
from lablib.teaching.machine import compare_columns, show_columns
from lablib.teaching.places import compare_spaces, place_objects, show_changes, show_objects
from lablib.teaching.predictions import predict
from lablib.teaching.tables import show_chunks, show_comparison, show_table, show_vmas
from lablib.teaching.tool_board import ToolBoard
from lablib.teaching.tool_guide import ToolGuide
from lablib.teaching.tool_tables import show_demands, show_exhibits, show_tools

__all__ = [
    "Classifier",
    "HeapWatch",
    "ToolBoard",
    "ToolGuide",
    "clues_in_all",
    "clues_in_resident",
    "compare_columns",
    "compare_spaces",
    "draw_lineup",
    "follow_heap",
    "observe_eight",
    "open_lab",
    "open_room",
    "place_objects",
    "predict",
    "run_capped",
    "run_or_replay",
    "show_answers",
    "show_badness",
    "show_blocks",
    "show_changes",
    "show_chunks",
    "show_columns",
    "show_comparison",
    "show_demands",
    "show_examination",
    "show_exhibits",
    "show_in_time",
    "show_lessons",
    "show_objects",
    "show_table",
    "show_tools",
    "show_vmas",
    "steer_group",
    "take_first",
    "trace_during",
]
