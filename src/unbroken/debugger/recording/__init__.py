"""Record what passes between a client and a provider.

    exchange.py  one request and its answer, told to a tape on both sides
    proxy.py     a proxy that records all that passes
    asking.py    one request of our own, recorded
    command.py   a command, with the proxy between it and whom it asks

Needs aiohttp; so nothing is imported from here.
"""
