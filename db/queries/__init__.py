"""The read side: one module per subject, each function one question, answered as a data frame.

Row-level security decides which rows a caller sees. Amounts arrive as float64: they are for looking
at, never for deciding. Times are aware UTC. An empty answer has the same columns as a full one.
"""
