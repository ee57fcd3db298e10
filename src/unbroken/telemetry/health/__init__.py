"""The health of streams: each one's row, and figures of all of them.

```
monitor = HealthMonitor()
client = openai.OpenAI(http_client=unbroken.http_client(health=monitor))
...
print(monitor.report().success_rate)
```
"""

from __future__ import annotations

from unbroken.telemetry.health.buffering import BufferingDetector
from unbroken.telemetry.health.figures import Figures, Group, Labels, UsageTotals
from unbroken.telemetry.health.histogram import EDGES, Histogram, Spread
from unbroken.telemetry.health.monitor import HealthMonitor
from unbroken.telemetry.health.naming import names_of
from unbroken.telemetry.health.prices import Price, Prices
from unbroken.telemetry.health.report import (
    Count,
    HealthReport,
    PartReport,
    RecoveryCount,
    report_of,
)
from unbroken.telemetry.health.rows import FaultRow, StreamError, StreamRow
from unbroken.telemetry.health.stream import StreamHealth

__all__ = [
    "EDGES",
    "BufferingDetector",
    "Count",
    "FaultRow",
    "Figures",
    "Group",
    "HealthMonitor",
    "HealthReport",
    "Histogram",
    "Labels",
    "PartReport",
    "Price",
    "Prices",
    "RecoveryCount",
    "Spread",
    "StreamError",
    "StreamHealth",
    "StreamRow",
    "UsageTotals",
    "names_of",
    "report_of",
]
