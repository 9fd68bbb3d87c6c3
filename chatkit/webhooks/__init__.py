"""Outgoing webhooks: a server sends what happens in rooms to addresses of others, as signed HTTP requests.

`core.webhooks` has the records; this package sends. Imported only by a server with webhooks, and to test one.
"""
