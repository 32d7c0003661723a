"""What a user keeps after training."""
