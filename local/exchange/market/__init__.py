"""The market: sessions, daily bars, and the synthetic path inside each bar."""
