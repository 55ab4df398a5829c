"""Services: gather, decide, apply, in that order."""
