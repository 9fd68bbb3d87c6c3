"""The pages that a browser gets in place of an error for programs: what happened, and what to do about it."""

from html import escape
from typing import Final

from litestar import MediaType, Response

from chatkit.server.access import MAX_SHOWN_CHARS
from chatkit.server.litestar_types import HttpRequest

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>chatkit: %(title)s</title>
<style>
  :root { color-scheme: light dark; font: 100%%/1.5 system-ui, sans-serif; }
  body { margin: 0; background: light-dark(#fff, #17181b); color: light-dark(#211f1c, #e8e6e2); }
  main { max-width: 40rem; margin: min(15vh, 6rem) auto 2rem; padding: 0 1.5rem; overflow-wrap: anywhere; }
  h1 { font-size: 1.5rem; line-height: 1.25; }
  h2 { margin: 2rem 0 0; font-size: 1.125rem; }
  p { margin: 0.5rem 0; }
  a { color: light-dark(#4353c4, #a3aeff); }
  pre { padding: 0.75rem 1rem; border: 1px solid light-dark(#8d8980, #74777d); border-radius: 0.5rem;
    white-space: pre-wrap; }
</style>
<main>
%(content)s
</main>
</html>
"""
UNKNOWN_HOST: Final = """<h1>This server does not know the name <b>%(name)s</b></h1>
<p>A chatkit server answers only to the names that it was started with. Otherwise, a page of another site could reach it
through your browser.</p>
<h2>If you run this server</h2>
<p>Start it with this name, in addition to the other options:</p>
<pre>chatkit serve --origin %(scheme)s://%(name)s</pre>
<p>Behind a proxy, use the address that people see in their browsers.</p>
<h2>If somebody gave you this address</h2>
<p>Ask for the exact address of the chat, or send this page to the person who runs it.</p>"""
NOTHING_HERE: Final = """<h1>There is nothing at this address</h1>
<p>Go to the <a href="%(prefix)s/">chat</a>, or to the <a href="%(prefix)s/schema">description</a> of all addresses of
this server.</p>"""


def wants_page(request: HttpRequest) -> bool:
    """Return whether a browser shows the answer to a person, who cannot read an error for programs."""
    return request.method in {"GET", "HEAD"} and "text/html" in request.headers.get("accept", "")


def unknown_host(host: str, scheme: str) -> Response[str]:
    """Return the page for a request to `host`, as its header gives it, by `http` or `https`."""
    content = UNKNOWN_HOST % {"name": escape(host[:MAX_SHOWN_CHARS]), "scheme": scheme}
    return _page("unknown host name", content, 403)


def nothing_here(path_prefix: str) -> Response[str]:
    """Return the page for an address that this server, which has this path prefix, does not have."""
    return _page("not found", NOTHING_HERE % {"prefix": escape(path_prefix)}, 404)


def _page(title: str, content: str, status: int) -> Response[str]:
    text = PAGE % {"title": title, "content": content}
    return Response(text, status_code=status, media_type=MediaType.HTML, headers=HEADERS)
