"""The HTTP face: Alpaca's routes, bodies and status codes, and the simulator's own controls."""
