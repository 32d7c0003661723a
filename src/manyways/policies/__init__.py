"""Policies, the result of training."""
