"""The conformance suite: the requirements of the backend contract, as cases that can be run on any backend.

    import pytest
    from chatkit.backends import conformance

    @pytest.mark.parametrize("case", conformance.cases(shared=True), ids=lambda case: case.__name__)
    def test_conforms(case, tmp_path):
        conformance.run(case, lambda: MyBackend(tmp_path / "store"))

A case gets a factory. Each call of the factory makes another backend, not yet entered, on the same store, which is
empty when the case begins. If the backend's `shared` is false, each call may make a backend on its own store.
"""

# Importing these modules registers their cases.
from chatkit.backends.conformance import (  # noqa: F401
    administration,
    appends,
    consumers,
    keys,
    notifications,
    presence,
    reads,
    records,
    relations,
    renaming,
    retention,
    sharing,
    unread,
)
from chatkit.backends.conformance.suite import Case, Factory, cases, run

__all__ = ["Case", "Factory", "cases", "run"]
