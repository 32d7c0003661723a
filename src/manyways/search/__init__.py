"""The arg min over codes, for each point or trajectory.

`settings` needs no PyTorch. `coordinates` searches continuous codes for any loss. `factored` searches discrete and
continuous codes for the policy's network.
"""
