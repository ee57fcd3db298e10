"""What is kept outside the process's memory of streams: today the spill of long answers."""

from __future__ import annotations

from unbroken.journal.spill import FileSpill, open_spill

__all__ = ["FileSpill", "open_spill"]
