"""Which live blocks of a process something still points at: a conservative mark, in numpy.

Pure: it is given blocks, threads and a reader of memory, and asks no tracer. `scanning` puts it
together with one.
"""

from lablib.reachability.gaps import Freed as Freed
from lablib.reachability.gaps import find_freed as find_freed
from lablib.reachability.malloc import Books as Books
from lablib.reachability.malloc import read_books as read_books
from lablib.reachability.mappings import Mapping as Mapping
from lablib.reachability.mappings import find_mapping as find_mapping
from lablib.reachability.mappings import read_mappings as read_mappings
from lablib.reachability.marking import Marks as Marks
from lablib.reachability.marking import mark_blocks as mark_blocks
from lablib.reachability.words import Memory as Memory
from lablib.reachability.words import MemoryWords as MemoryWords
from lablib.reachability.words import WordsInPieces as WordsInPieces
from lablib.reachability.words import read_pointers as read_pointers
from lablib.reachability.words import select_ranges as select_ranges
