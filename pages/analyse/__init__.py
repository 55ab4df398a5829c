"""Why entries were made or not, and what else could have been."""
