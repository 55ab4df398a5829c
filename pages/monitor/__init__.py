"""What the bots hold, do and did."""
