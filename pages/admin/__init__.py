"""Where admins set the limits, give roles, and look at what runs and who did what."""
