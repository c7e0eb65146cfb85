"""From checkpoints to the folder that is published: ensemble, stacking, model card."""
