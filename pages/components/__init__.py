"""Widget groups that return a value and own their state."""
