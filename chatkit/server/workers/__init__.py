"""Several worker processes that serve one address, and the supervisor that starts, balances and replaces them."""
