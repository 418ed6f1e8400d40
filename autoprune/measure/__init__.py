"""What a network weighs and how fast it is: parameters, MACs, bytes, latency."""
