"""Benchmarks that check that no message is lost: many readers and senders on one server, or chaos on several."""

from chatkit.bench.campfire.campfire import Campfire
from chatkit.bench.campfire.plan import CampfirePlan
from chatkit.bench.campfire.report import CampfireReport, CampfireResult
from chatkit.bench.chaos.chaos import Chaos
from chatkit.bench.chaos.fleet import Fleet
from chatkit.bench.chaos.plan import ChaosPlan
from chatkit.bench.chaos.report import ChaosReport
from chatkit.bench.load.load import Load
from chatkit.bench.load.plan import LoadPlan
from chatkit.bench.load.report import LoadReport
from chatkit.bench.local.server import local_server
from chatkit.bench.local.stores import local_store

__all__ = [
    "Campfire",
    "CampfirePlan",
    "CampfireReport",
    "CampfireResult",
    "Chaos",
    "ChaosPlan",
    "ChaosReport",
    "Fleet",
    "Load",
    "LoadPlan",
    "LoadReport",
    "local_server",
    "local_store",
]
