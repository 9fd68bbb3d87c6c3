"""Checks that a request knows the signing secret of its webhook, in the ways of GitHub, Grafana and GitLab."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

NOT_SIGNED: Final = (
    "this webhook accepts signed requests only: its signing secret has to be set in GitHub, Grafana or GitLab, too"
)
WRONG_SIGNATURE: Final = "the signature is not that of this webhook's signing secret"
HEADERS: Final = ("x-hub-signature-256", "x-grafana-alerting-signature", "x-gitlab-token")


def is_signed(headers: Mapping[str, str]) -> bool:
    """Return whether a request has any of the headers that prove the secret."""
    return any(name in headers for name in HEADERS)


def is_right(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether one of the headers proves the secret, compared in constant time.

    GitHub sends the HMAC-SHA-256 of the body in hex after `sha256=`, Grafana without it, and GitLab the secret itself.
    """
    digest = hmac.digest(secret.encode(), body, hashlib.sha256).hex()
    expected = (f"sha256={digest}", digest, secret)
    # All are compared, so that the time of the answer is the same.
    return any([_is_equal(headers.get(name, ""), value) for name, value in zip(HEADERS, expected, strict=True)])  # noqa: C419


def _is_equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("latin-1", "replace"), expected.encode())
