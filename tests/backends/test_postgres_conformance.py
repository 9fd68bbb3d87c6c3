"""The conformance suite on PostgreSQL."""

import pytest
import stores

from chatkit.backends import conformance, open_backend


@pytest.mark.parametrize("case", conformance.cases(shared=True), ids=lambda case: case.__name__)
def test_conforms(case: conformance.Case) -> None:
    url = stores.emptied_postgres()
    conformance.run(case, lambda: open_backend(url))
