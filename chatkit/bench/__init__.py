"""Loads that prove that nothing was lost: many readers and senders on one server, or chaos on several."""

from chatkit.bench.chaos import Chaos
from chatkit.bench.chaos_plan import ChaosPlan
from chatkit.bench.chaos_report import ChaosReport
from chatkit.bench.fleet import Fleet
from chatkit.bench.load import Load
from chatkit.bench.own_server import own_server
from chatkit.bench.plan import Plan
from chatkit.bench.report import Report
from chatkit.bench.stores import own_store

__all__ = ["Chaos", "ChaosPlan", "ChaosReport", "Fleet", "Load", "Plan", "Report", "own_server", "own_store"]
