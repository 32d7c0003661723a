"""Families of small simulated tasks with several modes, shown as people show them: few, noisy, of different lengths.

A variant of a family is a seed of its geometry, noise and nuisance columns. Even variants choose settings; odd ones are
for what is reported. All episodes of a call are simulated at once.

A `core` is the true state of n episodes, (n, columns). An observation is the core and three nuisance columns.
"""

from families.arm import Arm
from families.base import NONE, STEP, Family, Floats, Habits, Imitator, Integers, Script
from families.planar import Planar
from families.push import Push

FAMILIES: dict[str, type[Family]] = {family.name: family for family in (Arm, Planar, Push)}

__all__ = [
    "FAMILIES",
    "NONE",
    "STEP",
    "Arm",
    "Family",
    "Floats",
    "Habits",
    "Imitator",
    "Integers",
    "Planar",
    "Push",
    "Script",
]
