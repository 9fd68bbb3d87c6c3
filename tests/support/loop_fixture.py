"""A fixture that runs a test of the protocols on each event loop."""

import pytest
from protocol_app import LOOPS


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)
