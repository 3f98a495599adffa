"""The case study in the terminal: `./lab demo`."""

from __future__ import annotations

from lablib.demo.result import DemoResult, describe_demo
from lablib.demo.story import run_demo

__all__ = ["DemoResult", "describe_demo", "run_demo"]
