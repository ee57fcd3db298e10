"""TensorZero's embedded gateway, served over HTTP; runs in TensorZero's environment.

    python tensorzero_server.py CONFIG.toml

`tensorzero.patch_openai_client` starts the same server in an application's process. Prints its URL.
"""

from __future__ import annotations

import os
import sys
import threading

os.environ.setdefault("RUST_LOG", "error")

from tensorzero import _start_http_gateway

gateway = _start_http_gateway(
    config_file=sys.argv[1],
    clickhouse_url=None,
    postgres_url=None,
    valkey_url=None,
    async_setup=False,
)
print(gateway.base_url, flush=True)
threading.Event().wait()
