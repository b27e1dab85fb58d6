"""Ways to run trials: here, in processes of this machine."""
