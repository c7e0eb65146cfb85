"""What runs after training: closed loops, hysteresis, targets, comparison of variants."""
