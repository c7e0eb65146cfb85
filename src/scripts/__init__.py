"""What the commands do, one module each: run by ``dmftnet`` and by the script of its name."""
