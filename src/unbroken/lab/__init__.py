"""The parts that make streams go wrong on purpose, and real servers to do it to.

Nothing is imported from here on: each module is imported by name, so that
``python -m unbroken.lab.llama`` starts with little, and an optional package is needed
only by who uses it. The lab imports nothing of the rest of Unbroken: it must be able to
test any client, and so it must not trust ours.
"""
