"""The core: pure, from bytes to actions; the standard library and msgspec only."""
