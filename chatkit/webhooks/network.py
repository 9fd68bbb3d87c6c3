"""CheckedNetwork: connects to the addresses of a host that a policy allows, and to no others.

It resolves the name itself and connects to the very address that it checked: a name that resolves to another address
the next time (DNS rebinding) has no effect. TLS still verifies the certificate for the name.
"""

from collections.abc import Iterable
from typing import Final

import httpcore

from chatkit.webhooks.address import Address, AddressPolicy
from chatkit.webhooks.resolver import Resolve, resolve

CONNECT_S: Final = 3.0  # to one address: there is time for another one then
MAX_TRIED: Final = 3  # addresses of one host


class AddressRefused(httpcore.ConnectError):
    """No address of the host may be connected to."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"{host} has no address on the internet: --webhook-allow NETWORK allows webhooks in a private network"
        )


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """The connections of an `httpcore` pool, only to addresses that `policy` allows."""

    def __init__(self, policy: AddressPolicy, resolve_host: Resolve = resolve) -> None:
        self._policy = policy
        self._resolve = resolve_host
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - of httpcore; the caller limits the whole request
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers. Raise `AddressRefused` or `httpcore.ConnectError`."""
        error: httpcore.ConnectError | httpcore.ConnectTimeout = AddressRefused(host)
        for address in (await self._allowed(host))[:MAX_TRIED]:
            try:
                return await self._network.connect_tcp(
                    str(address), port, CONNECT_S, local_address=local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
        raise error

    async def _allowed(self, host: str) -> list[Address]:
        try:
            found = await self._resolve(host.strip("[]"))
        except OSError as error:
            raise httpcore.ConnectError(f"the name {host} cannot be resolved: {error.strerror or error}") from error
        return [address for address in found if self._policy.allows(address)]

    async def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002 - the signature is that of httpcore
        timeout: float | None = None,  # noqa: ARG002, ASYNC109
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Raise `httpcore.ConnectError`: no webhook is sent to a socket of this machine."""
        raise httpcore.ConnectError("webhooks are sent to addresses of the internet")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._network.sleep(seconds)
