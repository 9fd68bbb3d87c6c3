"""The regular work on access: writing when tokens were used, and removing bans that have ended."""

import asyncio
import itertools
from contextlib import suppress
from typing import Final

from chatkit.core.access_table import AccessTable
from chatkit.core.administration import Administration
from chatkit.core.moderation import Moderation
from chatkit.errors import ChatkitError

USES_S: Final = 1.0  # between two writes of when tokens were used: a list of tokens shows a use after that time
CLEANED_AFTER: Final = 3_600  # times that: then bans that have ended are removed


async def maintain_access(access: AccessTable, administration: Administration, moderation: Moderation) -> None:
    """Do this work until cancelled. What a store that fails does not accept is done later."""
    for n_rounds in itertools.count(1):
        await asyncio.sleep(USES_S)
        for use in access.drain_uses():
            with suppress(ChatkitError):  # a use of the next hour is recorded then
                await administration.record_use(*use)
        if n_rounds % CLEANED_AFTER == 0:
            with suppress(ChatkitError):
                await moderation.remove_ended_bans()
