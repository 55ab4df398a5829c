"""The figures of Interlock, as ratios measured in one run."""
