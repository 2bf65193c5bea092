"""What the two generations of Mimecast's API ask of whoever signs a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tiforge import TiforgeError
from tiforge.http import Client
from tiforge_mimecast.failures import Refusal


class Authenticator(Protocol):
    """Gives each request its credentials, and says what it means when they are refused."""

    @property
    def account(self) -> str:
        """As whom requests are made, for the operator; holds no secret."""
        ...

    async def headers(self, client: Client, path: str) -> Mapping[str, str]:
        """Return the headers for one request; they are good for no second one.

        Args:
            client: The client, to ask for a token with.
            path: The request's path.

        Raises:
            TiforgeError: There are no credentials to be had.
        """
        ...

    def accepted(self) -> None:
        """Note that the credentials of the last request were accepted."""
        ...

    async def refused(self, client: Client, refusal: Refusal) -> TiforgeError:
        """Say what a 401 or 418 means, and prepare for the next try.

        Args:
            client: The client, to renew credentials with.
            refusal: The answer.

        Returns:
            `Transient` where the next try has better credentials, else `AuthenticationFailed`.
        """
        ...
