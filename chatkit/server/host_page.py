"""The page that a browser gets if it uses a host name that the server does not know: what to do about it."""

from html import escape
from typing import Final

from litestar import MediaType, Response

from chatkit.server.access import MAX_SHOWN_CHARS

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>chatkit: unknown host name</title>
<style>
  :root { color-scheme: light dark; font: 100%%/1.5 system-ui, sans-serif; }
  body { margin: 0; background: light-dark(#fff, #17181b); color: light-dark(#211f1c, #e8e6e2); }
  main { max-width: 40rem; margin: min(15vh, 6rem) auto 2rem; padding: 0 1.5rem; overflow-wrap: anywhere; }
  h1 { font-size: 1.5rem; line-height: 1.25; }
  h2 { margin: 2rem 0 0; font-size: 1.125rem; }
  p { margin: 0.5rem 0; }
  pre { padding: 0.75rem 1rem; border: 1px solid light-dark(#8d8980, #74777d); border-radius: 0.5rem;
    white-space: pre-wrap; }
</style>
<main>
<h1>This server does not know the name <b>%(name)s</b></h1>
<p>A chatkit server answers only to the names that it was started with. Otherwise, a page of another site could reach it
through your browser.</p>
<h2>If you run this server</h2>
<p>Start it with this name, in addition to the other options:</p>
<pre>chatkit serve --origin %(scheme)s://%(name)s</pre>
<p>Behind a proxy, use the address that people see in their browsers.</p>
<h2>If somebody gave you this address</h2>
<p>Ask for the exact address of the chat, or send this page to the person who runs it.</p>
</main>
</html>
"""


def unknown_host(host: str, scheme: str) -> Response[str]:
    """Return the page for a request to `host`, as its header gives it, by `http` or `https`."""
    text = PAGE % {"name": escape(host[:MAX_SHOWN_CHARS]), "scheme": scheme}
    return Response(text, status_code=403, media_type=MediaType.HTML, headers=HEADERS)
