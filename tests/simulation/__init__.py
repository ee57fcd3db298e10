"""A seeded world around the core: an upstream whose truth is known, in virtual time."""
