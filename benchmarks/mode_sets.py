"""Kinds of synthetic demonstrations. In each kind one thing tells the modes apart, and the sizes vary with the seed.

A kind is a function from a seed to demonstrations and the mode of each trajectory. Beside it stands its oracle: the
feature that someone would take who knows what tells the modes apart. K-means on it finds at least 0.97 of the modes, so
every set can be solved (`tests/benchmarks/test_mode_sets.py`).

Methods and their constants are chosen on the seeds `DEVELOPMENT` alone. Whether a constant or a rule stays is decided
on the seeds `ABLATION`, which chose none. What is reported has the seeds `REPORT`.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from families import Arm, Family, Planar, Push
from manyways import Demonstrations
from manyways.demonstrations.synthetic import Motions

DEVELOPMENT = tuple(range(10))
REPORT = tuple(range(100, 110))
ABLATION = tuple(range(110, 120))

_NOISE = 0.05  # of what is measured, as a share of its standard deviation
_SPREAD = 0.1  # of the places of one mode; different modes are 1 apart or more
_HARMONICS = 3
_CORNERS = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Drawn = tuple[Demonstrations, Integers]


@dataclass(frozen=True)
class Kind:
    """A kind of set.

    Attributes:
        draw: from a seed to demonstrations and the mode of each trajectory (trajectories,).
        oracle: from demonstrations and the seed to a feature (trajectories, columns) that tells the modes apart.
    """

    draw: Callable[[int], Drawn]
    oracle: Callable[[Demonstrations, int], Floats]


def start(seed: int) -> Drawn:
    """Modes differ in where one starts; all wander anyhow from there."""
    return _placed("start", seed, lambda wander: wander[0])


def end(seed: int) -> Drawn:
    """Modes differ in where one ends; all wander anyhow to there."""
    return _placed("end", seed, lambda wander: wander[-1])


def passing(seed: int) -> Drawn:
    """Modes differ in the height at which one passes the line x = 0; what is before and after differs anyhow."""
    rng = _random("passing", seed)
    labels, steps = _labels(rng, rng.integers(2, 6), _size(rng, 30, 300)), _size(rng, 20, 150)
    paths = []
    for label in labels:
        bend = rng.uniform(-0.6, 0.6)
        along = np.linspace(-1, 1, steps + 1)
        across = along + bend * (1 - along**2) / 2
        wander = _smooth(rng, steps + 1, 1)[:, 0]
        height = label + _SPREAD * rng.normal() + wander - np.interp(0, across, wander)
        paths.append(np.stack([across, height], axis=1))
    return _measured(rng, paths), labels


def order(seed: int) -> Drawn:
    """Modes differ in the order in which one visits the same four corners; how long each way takes differs anyhow."""
    rng = _random("order", seed)
    modes = rng.integers(2, 7)
    labels, steps = _labels(rng, modes, _size(rng, 30, 300)), _size(rng, 40, 200)
    orders = rng.permutation(list(permutations(range(4))))[:modes]
    paths = []
    for label in labels:
        visits = _CORNERS[orders[label]] + _SPREAD * rng.normal(size=(4, 2))
        visits = np.concatenate([np.zeros((1, 2)), visits, np.zeros((1, 2))])
        times = np.cumsum([0, *rng.uniform(0.5, 1.5, len(visits) - 1)])
        when = np.linspace(0, times[-1], steps + 1)
        paths.append(np.stack([np.interp(when, times, visits[:, axis]) for axis in (0, 1)], axis=1))
    return _measured(rng, paths), labels


def speed(seed: int) -> Drawn:
    """Modes differ in speed alone; ways and headings differ anyhow. In some sets the faster ones arrive earlier."""
    rng = _random("speed", seed)
    labels, steps = _labels(rng, rng.integers(2, 5), _size(rng, 30, 300)), _size(rng, 40, 120)
    earlier = rng.random() < 0.5
    paths = []
    for label in labels:
        pace = 1.6**label * np.exp(0.06 * rng.normal())
        count = max(8, round(2 * steps / pace)) if earlier else steps
        headings = rng.uniform(0, 2 * np.pi) + 0.8 * _smooth(rng, count, 1)[:, 0]
        paths.append(_path(rng.normal(size=2), pace / steps, headings))
    return _measured(rng, paths), labels


def column(seed: int) -> Drawn:
    """Modes differ in the level of one column among 10 to 60, number seed modulo columns."""
    rng = _random("column", seed)
    size = int(rng.integers(10, 61))
    labels, steps = _labels(rng, rng.integers(2, 5), _size(rng, 60, 300)), _size(rng, 20, 100)
    paths = []
    for label in labels:
        path = 0.8 * rng.normal(size=size) + 0.5 * _smooth(rng, steps + 1, size)
        path[:, seed % size] = label + _SPREAD * rng.normal() + 0.2 * _smooth(rng, steps + 1, 1)[:, 0]
        paths.append(path)
    return _measured(rng, paths), labels


def rhythm(seed: int) -> Drawn:
    """Modes differ in how fast one swings; width, phase, length and the way across differ anyhow."""
    rng = _random("rhythm", seed)
    labels, steps = _labels(rng, rng.integers(2, 5), _size(rng, 30, 300)), _size(rng, 100, 400)
    slowest = rng.uniform(3, 5) / steps
    paths = []
    for label in labels:
        count = round(steps * rng.uniform(0.8, 1.25))
        turns = slowest * 1.6**label * np.exp(0.04 * rng.normal()) * np.arange(count + 1)
        swing = np.exp(rng.uniform(-0.5, 0.5)) * np.sin(2 * np.pi * (turns + rng.random()))
        paths.append(np.stack([swing, _smooth(rng, count + 1, 1)[:, 0]], axis=1))
    return _measured(rng, paths), labels


def stretch(seed: int) -> Drawn:
    """Modes differ in the direction of a gesture, a fortieth of a long trajectory, at about the same time in all."""
    return _gestures("stretch", seed, 0.02)


def stretch_any_time(seed: int) -> Drawn:
    """Modes differ in the direction of a gesture, a fortieth of a long trajectory, at any time."""
    return _gestures("stretch any time", seed, 0.35)


def few_turns(seed: int) -> Drawn:
    """Modes differ in how fast one turns; 8 to 60 short trajectories with any first heading."""
    rng = _random("few turns", seed)
    modes = int(rng.integers(2, 5))
    labels, steps = _labels(rng, modes, _size(rng, 4 * modes, 60)), _size(rng, 15, 40)
    rates = 1.5 * (np.arange(modes) - rng.integers(modes))
    paths = []
    for label in labels:
        turn = rates[label] + 0.12 * rng.normal()
        headings = rng.uniform(0, 2 * np.pi) + turn * np.linspace(0, 1, steps)
        paths.append(_path(rng.normal(size=2), np.exp(0.1 * rng.normal()) / steps, headings))
    return _measured(rng, paths), labels


def few_shapes(seed: int) -> Drawn:
    """Modes differ in their curve; 8 to 60 trajectories."""
    rng = _random("few shapes", seed)
    return Motions(kinds=int(rng.integers(2, 5)), per_kind=_size(rng, 4, 15), noise=0.02).draw(seed)


def any_heading(seed: int) -> Drawn:
    """Modes differ in their curve as one sees it along it; place and heading differ anyhow."""
    rng = _random("any heading", seed)
    modes, steps = int(rng.integers(3, 9)), _size(rng, 40, 120)
    labels = _labels(rng, modes, _size(rng, 60, 400))
    profiles = _apart(lambda: 1.5 * _smooth(rng, steps, 1)[:, 0], modes, 0.7 * np.sqrt(steps), from_first=True)
    paths = []
    for label in labels:
        headings = rng.uniform(0, 2 * np.pi) + profiles[label] + 0.1 * _smooth(rng, steps, 1)[:, 0]
        paths.append(_path(rng.normal(size=2), 1 / steps, headings))
    return _measured(rng, paths), labels


def unequal(seed: int) -> Drawn:
    """Modes differ in their curve; the most frequent is 20 to 100 times as frequent as the rarest."""
    rng = _random("unequal", seed)
    kinds, per_kind, imbalance = int(rng.integers(3, 7)), _size(rng, 80, 150), rng.uniform(20, 100)
    return Motions(kinds=kinds, per_kind=per_kind, noise=0.02, imbalance=imbalance).draw(seed)


def one_mode(seed: int) -> Drawn:
    """One mode: a curve; or goals anywhere on an arc; or any speed from slow to fast."""
    rng = _random("one mode", seed)
    count, steps = _size(rng, 30, 300), _size(rng, 20, 100)
    if seed % 3 == 0:
        return Motions(kinds=1, per_kind=count, noise=0.05, speeds=0.1).draw(seed)
    paths = []
    for _ in range(count):
        headings = 0.1 * _smooth(rng, steps, 1)[:, 0]
        pace = np.exp(rng.uniform(-0.7, 0.7)) if seed % 3 == 1 else 1.0
        headings += 0.0 if seed % 3 == 1 else rng.uniform(-1, 1)
        paths.append(_path(_SPREAD * rng.normal(size=2), pace / steps, headings))
    return _measured(rng, paths), np.zeros(count, np.int64)


def gripper(seed: int) -> Drawn:
    """Modes differ in the way around something; a gripper, which has no noise, closes before the end of each.

    Trajectories have many lengths, so what is computed of the gripper's columns has few values, in any distances.
    """
    rng = _random("gripper", seed)
    modes, late = int(rng.integers(2, 6)), rng.uniform(0.6, 0.95)
    labels, varies = _labels(rng, modes, _size(rng, 30, 200)), 0.03 * float(rng.random() < 0.5)
    pairs = []
    for label in labels:
        steps, angle = int(rng.integers(40, 90)), 2 * np.pi * label / modes
        along = np.linspace(0, 1, steps)
        start, goal = 0.1 * rng.normal(size=3), np.array([3.0, 0, 0]) + 0.1 * rng.normal(size=3)
        path = start + along[:, None] * (goal - start)
        path[:, 1:] += np.sin(np.pi * along)[:, None] * [np.cos(angle), np.sin(angle)]
        path += 0.01 * rng.normal(size=path.shape)
        width = 0.04 * (along < late + varies * rng.normal())
        states = np.hstack([path, width[:, None], -width[:, None], np.tile(goal, (steps, 1))])
        actions = np.gradient(path, axis=0) * 20 + 0.02 * rng.normal(size=path.shape)
        pairs.append((states, np.hstack([actions, np.sign(width - 0.02)[:, None]])))
    return Demonstrations.from_arrays(pairs), labels


def quaternions(seed: int) -> Drawn:
    """Modes differ in the orientation that one turns to. It is a quaternion q, or -q, which means the same.

    In some sets the sign changes from trajectory to trajectory. In others the first number is never negative, so that
    the sign may change on the way. The action is the next pose.
    """
    rng = _random("quaternions", seed)
    modes, steps = int(rng.integers(2, 6)), _size(rng, 20, 100)
    labels = _labels(rng, modes, _size(rng, 30, 300))
    by_trajectory = rng.random() < 0.5
    first = Rotation.random(random_state=seed)
    goals = _apart(lambda: _matrix(Rotation.from_rotvec(_unit(rng, 3) * rng.uniform(1, 3))), modes, 1.5)
    pairs = []
    for label in labels:
        turn = Rotation.from_matrix(goals[label].reshape(3, 3)).as_rotvec() + _SPREAD * rng.normal(size=3)
        turned = first * Rotation.from_rotvec(np.linspace(0, 1, steps + 1)[:, None] * turn)
        poses = turned.as_quat() + 0.01 * rng.normal(size=(steps + 1, 4))
        signs = rng.choice([-1, 1]) if by_trajectory else np.where(poses[:, :1] < 0, -1, 1)
        poses = signs * poses / np.linalg.norm(poses, axis=1, keepdims=True)
        poses = np.concatenate([poses, _smooth(rng, steps + 1, 3)], axis=1)
        pairs.append((poses[:-1], poses[1:]))
    return Demonstrations.from_arrays(pairs), labels


def declared_quaternions(seed: int) -> Drawn:
    """The same, declared as quaternions, as a warning of the library advises; as every method gets them, encoded."""
    demonstrations, labels = quaternions(seed)
    return demonstrations.with_rotations(quaternions=("observations.0", "actions.0")).encoded, labels


def many_modes(seed: int) -> Drawn:
    """Modes differ in their curve; 40 to 200 modes."""
    rng = _random("many modes", seed)
    return Motions(kinds=_size(rng, 40, 200), per_kind=int(rng.integers(8, 16)), noise=0.01, starts=0.05).draw(seed)


def many_trajectories(seed: int) -> Drawn:
    """Modes differ in their curve; 5,000 to 20,000 trajectories of 8 to 20 steps."""
    return _curves("many trajectories", seed, (3, 8), (5000, 20000), (8, 20))


def long(seed: int) -> Drawn:
    """Modes differ in their curve; 20 to 60 trajectories of 1,500 to 5,000 steps."""
    return _curves("long", seed, (2, 5), (20, 60), (1500, 5000))


def short(seed: int) -> Drawn:
    """Modes differ in their curve; 20 to 200 trajectories of 5 to 8 steps."""
    return _curves("short", seed, (2, 5), (20, 200), (5, 8))


def _random(kind: str, seed: int) -> np.random.Generator:
    """Return a generator of its own for each kind and seed."""
    return np.random.default_rng([seed, zlib.crc32(kind.encode())])


def _size(rng: np.random.Generator, least: int, most: int) -> int:
    """Return a number, with any order of magnitude in between equally likely."""
    return round(float(np.exp(rng.uniform(np.log(least), np.log(most)))))


def _labels(rng: np.random.Generator, modes: int | np.integer, count: int) -> Integers:
    """Return modes with nearly equal shares in random order, (count,)."""
    return rng.permutation(np.arange(max(count, 4 * modes)) % modes)


def _unit(rng: np.random.Generator, size: int) -> Floats:
    vector = rng.normal(size=size)
    return vector / np.linalg.norm(vector)


def _matrix(rotation: Rotation) -> Floats:
    return np.asarray(rotation.as_matrix()).ravel()


def _smooth(rng: np.random.Generator, steps: int, columns: int) -> Floats:
    """Return random smooth curves (steps, columns) of variance about 1."""
    harmonics = np.arange(1, _HARMONICS + 1)
    sizes = np.sqrt(2) * rng.normal(size=(columns, _HARMONICS)) / harmonics / np.sqrt((1 / harmonics**2).sum())
    angles = np.pi * np.linspace(0, 1, steps)[:, None, None] * harmonics
    return np.asarray((sizes * np.cos(angles + rng.uniform(0, 2 * np.pi, sizes.shape))).sum(axis=-1))


def _apart(draw: Callable[[], Floats], count: int, least: float, from_first: bool = False) -> Floats:
    """Return vectors (count, n) of which no two are nearer than `least`, less their first entries if `from_first`."""
    chosen: list[Floats] = []
    for attempt in range(100 * count):
        new = draw()
        new = new - new[0] if from_first else new
        allowed = least * min(1.0, 20 * count / (attempt + 1))  # where there is no room, a little nearer
        if all(np.linalg.norm(new - other) >= allowed for other in chosen):
            chosen.append(new)
        if len(chosen) == count:
            break
    return np.array(chosen)


def _path(first: Floats, stride: float, headings: Floats) -> Floats:
    """Return the way from a place with strides of one length, (headings + 1, 2)."""
    strides = stride * np.stack([np.cos(headings), np.sin(headings)], axis=1)
    return np.concatenate([first[None], first + np.cumsum(strides, axis=0)])


def _measured(rng: np.random.Generator, paths: Sequence[Floats], noise: float = _NOISE) -> Demonstrations:
    """Return states with noise, and as actions the strides with noise; the unit of actions is their mean square."""
    size = np.concatenate(paths).std(axis=0)
    stride = np.sqrt(np.mean(np.concatenate([np.diff(path, axis=0) for path in paths]) ** 2))
    pairs = []
    for path in paths:
        strides = np.diff(path, axis=0) / stride
        states = path[:-1] + noise * size * rng.normal(size=strides.shape)
        pairs.append((states, strides + noise * rng.normal(size=strides.shape)))
    return Demonstrations.from_arrays(pairs)


def _placed(name: str, seed: int, anchor: Callable[[Floats], Floats]) -> Drawn:
    """Return trajectories that wander, and whose anchor is in the place of their mode."""
    rng = _random(name, seed)
    modes, steps = int(rng.integers(2, 7)), _size(rng, 20, 150)
    labels = _labels(rng, modes, _size(rng, 30, 300))
    places = _apart(lambda: rng.uniform(-np.sqrt(modes), np.sqrt(modes), 2), modes, 1.3)
    paths = []
    for label in labels:
        wander = _smooth(rng, steps + 1, 2)
        paths.append(places[label] + _SPREAD * rng.normal(size=2) + wander - anchor(wander))
    return _measured(rng, paths), labels


def _gestures(name: str, seed: int, jitter: float) -> Drawn:
    """Return long smooth trajectories with a gesture: fast into the direction of the mode, and slowly back."""
    rng = _random(name, seed)
    modes, steps = int(rng.integers(2, 6)), _size(rng, 300, 1500)
    labels = _labels(rng, modes, _size(rng, 30, 200))
    angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(modes) / modes
    middle = 0.5 if jitter > 0.1 else rng.uniform(0.2, 0.8)
    paths = []
    for label in labels:
        angle = angles[label] + 0.1 * rng.normal()
        since = (np.linspace(0, 1, steps + 1) - middle - rng.uniform(-jitter, jitter)) / 0.025
        size = np.interp(since, [-0.25, 0, 0.75], [0, 0.6, 0])
        paths.append(_smooth(rng, steps + 1, 2) + size[:, None] * [np.cos(angle), np.sin(angle)])
    return _measured(rng, paths), labels


def _curves(name: str, seed: int, modes: tuple[int, int], counts: tuple[int, int], steps: tuple[int, int]) -> Drawn:
    """Return trajectories that follow their mode's curve nearly, in numbers between those given."""
    rng = _random(name, seed)
    kinds, length = int(rng.integers(modes[0], modes[1] + 1)), _size(rng, *steps)
    labels = _labels(rng, kinds, _size(rng, *counts))
    curves = _apart(lambda: _smooth(rng, length + 1, 2).ravel(), kinds, np.sqrt(2 * length))
    paths = []
    for label in labels:
        own = 0.2 * rng.normal(size=2) + 0.2 * _smooth(rng, length + 1, 2)
        paths.append(curves[label].reshape(-1, 2) + own)
    return _measured(rng, paths), labels


def _each(feature: Callable[[Any, Any], Any]) -> Callable[[Demonstrations, int], Floats]:
    """Return an oracle from a feature of one trajectory's states and actions."""

    def oracle(demonstrations: Demonstrations, seed: int) -> Floats:
        return np.array([np.ravel(feature(states, actions)) for states, actions in demonstrations], np.float64)

    return oracle


def _curve(states: Floats, actions: Floats) -> Floats:
    """Return the way from the first place at 16 times, and the strides there."""
    when, steps = np.linspace(0, len(states) - 1, 16), np.arange(len(states))
    return np.array([np.interp(when, steps, column) for column in (states - states[0]).T])


def _turns(states: Floats, actions: Floats) -> Floats:
    """Return how the heading changed since the first tenth, at 16 times."""
    headings = np.unwrap(np.arctan2(actions[:, 1], actions[:, 0]))
    width = max(1, len(headings) // 10)
    smooth = np.convolve(headings, np.ones(width) / width, "valid")
    return np.interp(np.linspace(0, 1, 16), np.linspace(0, 1, len(smooth)), smooth - smooth[0])


def _height(states: Floats, actions: Floats) -> float:
    """Return the height at x = 0, by a line through what is near."""
    near = np.argsort(np.abs(states[:, 0]))[: max(4, len(states) // 8)]
    return float(np.polyfit(states[near, 0], states[near, 1], 1)[1])


def _visits(states: Floats, actions: Floats) -> Integers:
    """Return the place of each corner in the order of visits."""
    nearest = [np.linalg.norm(states - corner, axis=1).argmin() for corner in _CORNERS]
    return np.argsort(np.argsort(nearest))


def _tempo(states: Floats, actions: Floats) -> float:
    """Return the logarithm of the strongest frequency of the first column."""
    swing = (states[:, 0] - states[:, 0].mean()) * np.hanning(len(states))
    return float(np.log(1 + np.abs(np.fft.rfft(swing, 8192))[1:].argmax()))


def _gesture(states: Floats, actions: Floats) -> Floats:
    """Return the direction of the fastest strides, averaged over a few of them."""
    width = max(1, len(actions) // 200)
    smooth = np.stack([np.convolve(column, np.ones(width) / width, "valid") for column in actions.T], axis=1)
    fastest = smooth[np.linalg.norm(smooth, axis=1).argmax()]
    return np.asarray(fastest / np.linalg.norm(fastest))


def _level(demonstrations: Demonstrations, seed: int) -> Floats:
    size = demonstrations[0][0].shape[1]
    return np.array([[states[:, seed % size].mean()] for states, _ in demonstrations])


def _habits(family: type[Family]) -> Kind:
    """Return demonstrations with people's habits, of the variant of a family that has the seed's number."""

    def draw(seed: int) -> Drawn:
        return family(seed).demonstrations(_size(_random(family.name, seed), 30, 150), seed)

    return Kind(draw, lambda demonstrations, seed: np.eye(family.modes)[family(seed).modes_shown(demonstrations)])


SETS: dict[str, Kind] = {
    "start": Kind(start, _each(lambda states, actions: states[:2].mean(axis=0))),
    "passing": Kind(passing, _each(_height)),
    "end": Kind(end, _each(lambda states, actions: states[-1])),
    "order": Kind(order, _each(_visits)),
    "speed": Kind(speed, _each(lambda states, actions: np.log(np.linalg.norm(actions, axis=1)).mean())),
    "one column": Kind(column, _level),
    "rhythm": Kind(rhythm, _each(_tempo)),
    "short stretch": Kind(stretch, _each(_gesture)),
    "short stretch, any time": Kind(stretch_any_time, _each(_gesture)),
    "few, turns": Kind(few_turns, _each(_turns)),
    "few, curves": Kind(few_shapes, _each(_curve)),
    "any heading": Kind(any_heading, _each(_turns)),
    "unequal": Kind(unequal, _each(_curve)),
    "one mode": Kind(one_mode, _each(_curve)),
    "gripper": Kind(gripper, _each(lambda states, actions: _curve(states[:, :3], actions)[:, 1:])),
    "quaternions": Kind(quaternions, _each(lambda states, actions: np.outer(states[-1, :4], states[-1, :4]))),
    "quaternions, declared": Kind(declared_quaternions, _each(lambda states, actions: states[-1, 3:])),
    "many modes": Kind(many_modes, _each(_curve)),
    "many trajectories": Kind(many_trajectories, _each(_curve)),
    "long": Kind(long, _each(_curve)),
    "short": Kind(short, _each(_curve)),
    **{f"habits, {family.name}": _habits(family) for family in (Arm, Planar, Push)},
}
