"""Which pages are kept, and for how long. `test_short_path.py` compares them with what the routes answer."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
from access_server import ROOT, grant

from chatkit.backends.sqlite import SqliteBackend
from chatkit.core.hub import Hub
from chatkit.core.model import Draft
from chatkit.server.app import open_app
from chatkit.server.newest_pages import NewestPages
from chatkit.server.settings import Settings


def test_a_known_page_outlives_a_moment_in_which_the_store_is_busy(tmp_path: Path) -> None:
    async def test() -> None:
        async with SqliteBackend(tmp_path / "rooms.db") as backend, Hub(backend) as hub:
            pages = NewestPages(hub)
            mark = pages.check()
            pages.keep("ops", 5, b"page", mark)
            assert backend._scans.try_acquire()
            assert pages.find("ops", 5, pages.check()) is None
            backend._scans.release()
            assert pages.find("ops", 5, pages.check()) == b"page"
            await backend.append([Draft("ops", "ann", "hi")])
            pages.keep("ops", 5, b"old", mark)
            assert pages.find("ops", 5, pages.check()) is None

    asyncio.run(test())


def test_a_known_page_is_given_only_to_those_who_may_read_the_room_now(tmp_path: Path) -> None:
    settings = Settings(backend=f"sqlite:///{tmp_path}/rooms.db", rate_limit=0, host="0.0.0.0")

    async def test() -> None:
        async with open_app(settings) as app:
            hub: Hub = app.state.admission.hub
            pages: NewestPages = app.asgi_handler._pages  # type: ignore[attr-defined]  # of the short path
            ann, bob = [
                await hub.administration.add_token(ROOT, name, (grant(room, "read"),))
                for name, room in (("ann", "ops"), ("bob", "dev"))
            ]
            await hub.publish(Draft("ops", "ann", "hi"))
            application: Any = app
            transport = httpx.ASGITransport(application)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:

                async def read(secret: str) -> int:
                    headers = {"authorization": f"Bearer {secret}"} if secret else {}
                    return (await client.get("/rooms/ops/messages?limit=5", headers=headers)).status_code

                async def answers() -> list[int]:
                    """Return the answers to ann, bob and others while the page is known."""
                    page = pages.find("ops", 5, mark := pages.check())
                    pages.keep("ops", 5, page or b"{}", mark)
                    return [await read(secret) for secret in (ann.secret, bob.secret, "wrong", "")]

                assert await read(ann.secret) == 200
                assert pages.find("ops", 5, pages.check()) is not None
                assert await answers() == [200, 404, 401, 401]
                ban = await hub.moderation.ban(ROOT, "ann", room="ops")
                assert await answers() == [403, 404, 401, 401]
                await hub.moderation.unban(ROOT, ban.id)
                await hub.administration.revoke(ROOT, ann.token.id)
                assert await answers() == [401, 404, 401, 401]

    asyncio.run(test())
