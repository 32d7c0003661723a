"""Watches what `predict` is called with, and warns once of each mistake that loops often make."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from manyways.networks.limits import FARTHEST

_CALLS_WITHOUT_STATE = 10  # in a row, before the warning of a lost state
_FAR_CALLS = 20  # the first ones, all with observations far from the demonstrations, before the warning


class Watch:
    """Warns where the caller seems to lose the state, and where it seems to normalise observations or pictures.

    Args:
        moments: mean and inverse standard deviation of flat observations; None for others.
        pictures: the entries of an observation that are pictures, "" for one alone.

    Attributes:
        looked: whether the first observations have been looked at.
    """

    def __init__(self, moments: tuple[Any, Any] | None, pictures: Sequence[str] = ()) -> None:
        self.looked = moments is None and not pictures
        self._moments, self._pictures = moments, pictures
        self._without_state = self._far = 0

    def lost_state(self, lost: bool) -> None:
        """Count a call without a state, for a policy that needs one."""
        self._without_state = self._without_state + 1 if lost else 0
        if self._without_state == _CALLS_WITHOUT_STATE:
            warnings.warn(
                "predict was called without a state again and again, so a new code is drawn at every step; give it "
                "the state that it returned, or use policy.with_code(...)",
                stacklevel=3,
            )

    def look(self, batch: Any) -> None:
        """Look at observations (n, ...). Those normalised twice are far off from the first one on."""
        if self._moments is None:
            self._look_at_pictures(batch)
            return
        mean, scale = self._moments
        deviations = np.abs((batch - mean) * scale).max(axis=1)
        distance = float(np.median(deviations))
        self._far += 1
        self.looked = distance <= FARTHEST or self._far == _FAR_CALLS
        if distance > FARTHEST and self.looked:
            warnings.warn(
                f"observations lie {distance:.0f} standard deviations from those of the demonstrations, from the first "
                "one on; give them raw, not through VecNormalize or another normalisation",
                stacklevel=3,
            )

    def _look_at_pictures(self, batch: Any) -> None:
        """Look at the first pictures; those that somebody divided by 255 are black to the policy."""
        self.looked = True
        for name in self._pictures:
            picture = batch[name] if name else batch
            if picture.dtype.kind == "f" and 0 < picture.max() <= 1:
                warnings.warn(
                    f"{f'the picture {name}' if name else 'the picture'} has values from 0 to {picture.max():.3g}, but "
                    "the policy learned from 0 to 255; give it as the camera does, not divided by 255",
                    stacklevel=4,
                )
