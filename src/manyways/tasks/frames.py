"""Frames: from observation and mode to the inputs of a trained expert, and from its actions to the environment's.

With a frame that uses a body's symmetry, one motion serves many modes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.observations import entries
from manyways.tasks.modes import DiscreteModes, Modes

Floats = NDArray[np.floating[Any]]


class ObservationFrame:
    """The plain frame: all entries of the observation in one vector, then the mode, one-hot or as a vector."""

    def inputs(self, observations: Any, mode: NDArray[Any], modes: Modes) -> Floats:
        """Return the expert's inputs (n, inputs), from observations of n environments and modes (n, ...)."""
        parts = [array.reshape(len(array), -1) for _, array in entries(observations)]
        parts.append(np.eye(len(modes))[mode] if isinstance(modes, DiscreteModes) else mode)
        return np.concatenate(parts, axis=1)

    def actions(self, actions: Floats, mode: NDArray[Any], modes: Modes) -> Floats:
        """Return the environment's actions (n, action size) from the expert's."""
        return actions


@dataclass(frozen=True)
class Egocentric(ObservationFrame):
    """The world rotated so that the mode's direction is the x axis; modes are angles.

    So an expert that walks along x walks in every direction. Angular velocities are already in the body's frame.

    Attributes:
        quaternion: first of the 4 columns of the torso's orientation.
        velocity: first column of its velocity, whose first two components rotate.
        size: how many columns are inputs; the others follow from them.
    """

    quaternion: int
    velocity: int
    size: int

    def inputs(self, observations: Floats, mode: NDArray[Any], modes: Modes) -> Floats:
        """Return the observation in the rotated world."""
        angle = -self._directions(observations, mode, modes)
        inputs = observations[:, : self.size].copy()
        w, x, y, z = observations[:, self.quaternion : self.quaternion + 4].T
        cos, sin = np.cos(angle / 2), np.sin(angle / 2)
        rotated = [cos * w - sin * z, cos * x - sin * y, cos * y + sin * x, cos * z + sin * w]
        inputs[:, self.quaternion : self.quaternion + 4] = np.stack(rotated, axis=1)
        inputs[:, self.velocity : self.velocity + 2] = _rotate(inputs[:, self.velocity : self.velocity + 2], angle)
        return inputs

    def _directions(self, observations: Floats, mode: NDArray[Any], modes: Modes) -> Floats:
        """Return the direction that becomes the x axis, (n,), an angle."""
        return _angles(mode, modes)


@dataclass(frozen=True)
class EgocentricAnt(Egocentric):
    """The same, with the ant's four equal legs in the order from the mode's direction on.

    So the ant faces the mode's direction up to 45°.
    """

    quaternion: int = 1
    velocity: int = 13
    size: int = 27

    def inputs(self, observations: Floats, mode: NDArray[Any], modes: Modes) -> Floats:
        """Return the observation in the rotated world, with the body's frame rotated by quarter turns."""
        inputs = super().inputs(observations, mode, modes)
        quarters = _quarters(mode, modes)
        w, x, y, z = inputs[:, 1:5].T.copy()
        cos, sin = np.cos(quarters * np.pi / 4), np.sin(quarters * np.pi / 4)
        inputs[:, 1:5] = np.stack([w * cos - z * sin, x * cos + y * sin, y * cos - x * sin, z * cos + w * sin], axis=1)
        inputs[:, 16:18] = _rotate(inputs[:, 16:18], -quarters * np.pi / 2)
        for column in (5, 19):  # angles of the joints, then their velocities: hip and ankle of each leg
            legs = inputs[:, column : column + 8].reshape(-1, 4, 2) * _ANKLE_SIGNS
            inputs[:, column : column + 8] = _reorder(legs, quarters).reshape(-1, 8)
        return inputs

    def actions(self, actions: Floats, mode: NDArray[Any], modes: Modes) -> Floats:
        """Return the torques of the ant's own legs."""
        legs = _reorder(actions.reshape(-1, 4, 2), -_quarters(mode, modes)) * _ANKLE_SIGNS
        return np.roll(legs, 1, axis=1).reshape(-1, 8)  # the motors begin with the last leg


# Two of the ant's ankles turn about an axis that points inwards.
_ANKLE_SIGNS = np.array([[1, 1], [1, -1], [1, -1], [1, 1]])


@dataclass(frozen=True)
class EgocentricHumanoid(Egocentric):
    """The same, mirrored for modes to the right, so that the expert only learns to walk to the left.

    The humanoid is symmetric. Its input direction is at most 120° from the one that it faces, so it turns back in
    stages. Otherwise it turns in some episodes and walks backwards in others, and falls under noise.

    Attributes:
        farthest: the greatest angle, 120°.
    """

    quaternion: int = 1
    velocity: int = 22
    size: int = 45
    farthest: float = 2 * np.pi / 3

    def inputs(self, observations: Floats, mode: NDArray[Any], modes: Modes) -> Floats:
        """Return the observation in the rotated world, mirrored for modes to the right."""
        inputs = super().inputs(observations, mode, modes)
        right = _to_the_right(mode, modes)
        joints = 5 + _MIRRORED_JOINTS
        columns = np.concatenate([np.arange(5), joints, np.arange(22, 28), joints + 23])
        # Height, orientation, joints; velocity, angular velocity, joints' velocities. A rotation by more than half a
        # circle gave the negative quaternion of the same orientation, so its sign changes too.
        signs = np.concatenate([[1, -1, 1, -1, 1], _JOINT_SIGNS, [1, -1, 1], [-1, 1, -1], _JOINT_SIGNS])
        inputs[right] = inputs[right][:, columns] * signs
        return inputs

    def _directions(self, observations: Floats, mode: NDArray[Any], modes: Modes) -> Floats:
        """Return the direction that becomes the x axis, at most `farthest` from the one that the torso faces."""
        w, x, y, z = observations[:, self.quaternion : self.quaternion + 4].T
        heading = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y**2 + z**2))
        targets = _angles(mode, modes)
        side = np.where(_to_the_right(mode, modes), -1, 1)
        # It turns to the mode's side, unless it has already turned too far: by -150° to 210° to the left.
        turn = (side * (targets - heading) + 5 * np.pi / 6) % (2 * np.pi) - 5 * np.pi / 6
        directions: Floats = targets + side * (turn.clip(-self.farthest, self.farthest) - turn)
        return directions

    def actions(self, actions: Floats, mode: NDArray[Any], modes: Modes) -> Floats:
        """Return the torques of the humanoid's own joints."""
        right = _to_the_right(mode, modes)
        torques = actions.copy()
        torques[right] = actions[right][:, _MIRRORED_JOINTS] * _MOTOR_SIGNS
        return torques


# Waist (3), right leg (4), left leg (4), right arm (3), left arm (3): each joint's mirror image, and its sign. Hips and
# elbows already have opposite signs on both sides. The waist's first two motors are in the reverse order of its joints.
_MIRRORED_JOINTS = np.array([0, 1, 2, 7, 8, 9, 10, 3, 4, 5, 6, 14, 15, 16, 11, 12, 13])
_LIMB_SIGNS = [1, 1, 1, 1] * 2 + [-1, -1, 1] * 2
_JOINT_SIGNS = np.array([-1, 1, -1, *_LIMB_SIGNS])
_MOTOR_SIGNS = np.array([1, -1, -1, *_LIMB_SIGNS])


def _to_the_right(mode: NDArray[Any], modes: Modes) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = np.sin(_angles(mode, modes)) < -1e-6
    return right


def _angles(mode: NDArray[Any], modes: Modes) -> Floats:
    assert isinstance(modes, DiscreteModes)
    return np.array(modes.values)[mode]


def _quarters(mode: NDArray[Any], modes: Modes) -> NDArray[np.int64]:
    return np.rint(_angles(mode, modes) / (np.pi / 2)).astype(np.int64)


def _rotate(vectors: Floats, angle: Floats) -> Floats:
    x, y = vectors.T
    return np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y], axis=1)


def _reorder(legs: Floats, quarters: NDArray[np.int64]) -> Floats:
    """Return legs (n, 4, 2) in the order from leg number `quarters` on."""
    places = (np.arange(4) + quarters[:, None]) % 4
    return legs[np.arange(len(legs))[:, None], places]
