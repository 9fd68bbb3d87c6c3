"""A load that proves that nothing was lost: readers and senders in one process, cheap enough to be many."""

from chatkit.bench.load import Load
from chatkit.bench.own_server import own_server
from chatkit.bench.plan import Plan
from chatkit.bench.report import Report

__all__ = ["Load", "Plan", "Report", "own_server"]
