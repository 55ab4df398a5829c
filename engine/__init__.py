"""The engine: loops around pure functions."""
