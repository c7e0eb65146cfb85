"""From checkpoints to the folder that is published, and its model card."""
