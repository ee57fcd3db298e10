"""What the contract tests stand on: a server that breaks streams, and drives of the real SDKs.

- `bodies`: streamed answers as each provider writes them (`Answer`, `body`)
- `faultserver`: an HTTP server that tests script (`FaultServer`, `Reply`, `Gate`, `Pause`)
- `model`: a scripted language model that can be asked to continue (`Model`)
- `faults`: the table of faults and how the server does each (`FAULTS`, `reply`, `breaking`)
- `drives`: the SDKs, sync and async, as an application uses them (`DRIVES`, `run`)
- `environments`: older SDK versions, each in an environment of its own

Nothing here imports `unbroken`: tests must not trust what they test.
"""
