"""Checks: small machines that watch events and time, and add faults."""
