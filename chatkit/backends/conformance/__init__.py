"""What every backend must do, as cases that anyone can run on a backend of theirs.

    import pytest
    from chatkit.backends import conformance

    @pytest.mark.parametrize("case", conformance.cases(shared=True), ids=lambda case: case.__name__)
    def test_conforms(case, tmp_path):
        conformance.run(case, lambda: MyBackend(tmp_path / "store"))

A case gets a factory; each call makes another backend, not yet entered, on the same store, which is empty when the case
begins. For a backend whose `shared` is false, each may be a store of its own.
"""

from chatkit.backends.conformance.case import Case, Factory
from chatkit.backends.conformance.suite import cases, run

__all__ = ["Case", "Factory", "cases", "run"]
