"""A module of tasks of one's own, as text: tests write it where commands find it."""

OWN = """
import numpy as np
from manyways.tasks import Base, Picture, Task, velocities

SWING = Task(
    name="swing",
    environment="own/Swing-v0",
    modes=velocities((-1.0, 1.0)),
    episode_steps=40,
    demonstrations=6,
    picture=Picture(lambda observations: observations[:, :2], ("cos", "sin")),
    base=Base("Pendulum-v1", in_envpool=False),
    rewards=lambda step, wanted: -abs(step.observation[:, 2:] - wanted),
)
CART = Task(
    name="cart",
    environment="own/Cart-v0",
    modes=velocities((-1.0, 1.0)),
    episode_steps=30,
    demonstrations=8,
    picture=Picture(lambda observations: observations[:, :2], ("x", "v")),
    base=Base("CartPole-v1", in_envpool=False),
    rewards=lambda step, wanted: -abs(step.observation[:, 1:2] - wanted),
    termination_fails=False,
    scripted_expert=lambda observations, modes: modes,
)
"""
