"""What runs while a network trains."""
