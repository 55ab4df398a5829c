"""What the authority does not hold yet. Each has a test of its own that is expected to fail and names its constant
here; the machine and the races keep clear of it until that test passes.
"""

PERSONS_PAUSE_OUTLIVES_WINDOWS = False
WASH_TRADES_ARE_SEEN_WITHIN_A_BATCH = False
DECISIONS_KEEP_TO_THE_EXPIRY = False
