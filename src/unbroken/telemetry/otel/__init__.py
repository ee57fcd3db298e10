"""OpenTelemetry: a span for each stream, one for each attempt, and metrics.

Needs ``unbroken[otel]``; where your application has its SDK set up, opentelemetry-api alone.

Names follow the GenAI semantic conventions (status: development); what those have no word for
begins with ``unbroken.``. No attribute holds anything of prompts, answers or keys.

```
monitor = otel.observe()  # your own SDK's providers
client = openai.OpenAI(http_client=unbroken.http_client(health=monitor))
```
"""

from __future__ import annotations

try:
    import opentelemetry.metrics
    import opentelemetry.trace  # noqa: F401
except ImportError as error:
    msg = (
        'traces and metrics by OpenTelemetry need its packages: pip install "unbroken[otel]",'
        " or opentelemetry-api alone where your application has its SDK set up"
    )
    raise ImportError(msg) from error

from unbroken.telemetry.otel.monitor import METRICS, TracedMonitor, TracedStream, observe
from unbroken.telemetry.otel.propagation import continued

__all__ = ["METRICS", "TracedMonitor", "TracedStream", "continued", "observe"]
