"""Constants of the networks that PyTorch and NumPy share."""

import math

FARTHEST = 10.0  # standard deviations at which normalised observations are clipped
IMAGE_SCALE = 127.5  # from bytes to -1 to 1
LARGEST_INPUT = math.sqrt(3)  # of the code's layer, for continuous codes
