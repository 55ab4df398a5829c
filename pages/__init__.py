"""The pages: they reflect what the authority says and request changes, never act themselves."""
