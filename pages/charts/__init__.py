"""Figures as pure functions: a data frame in, a Plotly figure out."""
