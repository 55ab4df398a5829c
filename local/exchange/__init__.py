"""The paper exchange: Alpaca's trading and data API over a simulated market.

Daily bars are real; everything inside a session (prices, quotes, volumes by the minute) is
synthetic, drawn from a seed, and pinned to the real open, high, low and close.
"""
