"""PPO, and what runs environments for it."""
