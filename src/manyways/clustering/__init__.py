"""Groups of similar trajectories, and how many there are."""
