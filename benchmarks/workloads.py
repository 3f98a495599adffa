"""The known workloads, which lie beside the tests that hold lablib to them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from cases import CASES as CASES
from cases import Case as Case
from cases import find_disagreements as find_disagreements
from checks import Live as Live
from checks import Outcome as Outcome
from checks import from_function as from_function
from workload import Workload as Workload
from workload import build_case as build_case
from workload import run_case as run_case
