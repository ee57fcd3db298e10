"""``python -m unbroken.cli``: the same as ``unbroken``."""

from __future__ import annotations

from unbroken.cli import main

main()
