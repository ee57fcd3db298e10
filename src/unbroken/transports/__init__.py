"""Transports: Unbroken under an HTTP client. One module a library, imported only when asked for."""
