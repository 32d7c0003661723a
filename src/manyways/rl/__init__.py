"""PPO, and its rollouts."""
