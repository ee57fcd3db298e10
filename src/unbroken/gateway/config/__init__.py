"""The gateway's configuration: what can be set, read from file, environment and flags."""

from __future__ import annotations

from unbroken.gateway.config.check import check, is_loopback
from unbroken.gateway.config.load import Loaded, load, read
from unbroken.gateway.config.policy import OnDisconnect
from unbroken.gateway.config.problems import ConfigError, Problem
from unbroken.gateway.config.schema import schema
from unbroken.gateway.config.secret import Secret, Value
from unbroken.gateway.config.settings import (
    CallerConfig,
    CallerLimits,
    GatewayConfig,
    JournalConfig,
    LimitsConfig,
    OwnLimits,
    ResumeConfig,
    RouteConfig,
    TargetConfig,
    TelemetryConfig,
    UpstreamConfig,
)

__all__ = [
    "CallerConfig",
    "CallerLimits",
    "ConfigError",
    "GatewayConfig",
    "JournalConfig",
    "LimitsConfig",
    "Loaded",
    "OnDisconnect",
    "OwnLimits",
    "Problem",
    "ResumeConfig",
    "RouteConfig",
    "Secret",
    "TargetConfig",
    "TelemetryConfig",
    "UpstreamConfig",
    "Value",
    "check",
    "is_loopback",
    "load",
    "read",
    "schema",
]
