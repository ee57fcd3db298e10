"""Drivers: carry out the core's actions. They know nothing of one HTTP library."""
