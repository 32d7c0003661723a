"""Which code explains each point, each trajectory: the arg min over codes.

`settings` needs no PyTorch; `coordinates` searches continuous codes for any loss; `factored` searches both kinds for
the policy's network.
"""
