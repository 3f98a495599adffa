"""The incident room: a program that nobody here has seen, a pager, a clock that runs.

    with IncidentRoom(open_incident()) as room:
        room.start_service()
        room.trace(6)
        room.note("the map of sessions grows, and nothing leaves it")
        room.write_post_mortem()

incidents.py    an incident on the disk: which program, since when, and what the learner wrote
timeline.py     what was done and seen in it, with the clock's time
service.py      the program as it is in service: in a container with a cap, sampled
rehearsal.py    the same program run ahead of time, looked at every N terms
evidence.py     tables and sentences from what was seen
postmortem.py   the page that is read in the morning, as Markdown and as HTML
room.py         all of it together

Nothing here judges: `./lab check incident` does, with the same program and the learner's folder.
"""

from __future__ import annotations

from lablib.incident_room.incidents import Incident, open_incident
from lablib.incident_room.rehearsal import rehearse
from lablib.incident_room.room import IncidentRoom

__all__ = ["Incident", "IncidentRoom", "open_incident", "rehearse"]
