"""Tests of unbroken."""
