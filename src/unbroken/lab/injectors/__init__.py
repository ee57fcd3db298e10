"""The faults, one small file each. Every module here is loaded, so a new file is all it takes.

docs/how-to/add-a-fault.md shows how.

    spec.py      Spec and Place: a fault as it was asked for
    base.py      Injector, Scene, the table, and `run`, the pipeline
    at_place.py  AtPlace and OnFrames: what most faults are made of
    instead.py   Instead: what answers in place of the model

Faults may be named in any order: `run` sorts them by stage.
"""

from __future__ import annotations

from unbroken.lab.injectors.at_place import AtPlace, OnFrames
from unbroken.lab.injectors.base import (
    INJECTORS,
    AtStart,
    Injector,
    Scene,
    injector_for,
    load,
    put,
    run,
)
from unbroken.lab.injectors.spec import FaultError, Place, Spec

__all__ = [
    "INJECTORS",
    "AtPlace",
    "AtStart",
    "FaultError",
    "Injector",
    "OnFrames",
    "Place",
    "Scene",
    "Spec",
    "injector_for",
    "put",
    "run",
]

load()
