"""A plugin for pytest: the fixtures `chatkit_server`, a real server that fails on request, and `chatkit_client`."""
