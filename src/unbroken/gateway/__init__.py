"""The gateway: one process between all clients and all providers, for any language.

`config` says what may be asked of whom, `serving` listens, `guard` and `callers` let requests in,
`routes` chooses the upstream, `relaying` heals the stream, `resume` reads it on after a client
lost its connection. `app.Gateway` joins them. Needs ``pip install "unbroken[gateway]"``.
"""
