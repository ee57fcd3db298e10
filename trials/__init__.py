"""`make knowledge`: the claims of the knowledge base, tried in the lab. For developers only.

Each record names a scenario that reproduces it, and its dead ends and workarounds may name a
trial. Here the scenario is played to the real SDK, each trial is done some times, and what came of
it goes into the record beside the claimed rate. Not part of the package that users install.

- `dialects`: how the SDKs are asked and read, one class a dialect
- `ways`: the trials by name, each a small function
- `play`: one trial, so many times, in the lab, with a deadline
- `seen`: whether the scenario is the error that its record describes
- `proxies`: real nginx and HAProxy before the lab, and other clients
- `records`: the records' files, read and written
"""
