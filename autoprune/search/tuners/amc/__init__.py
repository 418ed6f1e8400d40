"""The RL agent in the manner of AMC."""
