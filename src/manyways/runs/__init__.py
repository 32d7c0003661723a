"""The folder of a run, and the workflow: train, evaluate, modes, robustness."""
