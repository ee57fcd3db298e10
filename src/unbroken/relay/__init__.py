"""The one pump between a downstream and an upstream; lab proxy, recorder and gateway share it.

`headers` says what passes, `upstream` asks a server with aiohttp, `pump` moves one answer,
`serving` is the server that a downstream talks to.
Nothing is imported from here on, so that the pump is there without aiohttp.
"""
