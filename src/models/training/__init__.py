"""From a config to a checkpoint: losses, the training module, records, scores."""
