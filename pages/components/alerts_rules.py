"""Every rule of the alerts in a sentence: when it opens, and what to do. docs/alerts.md says more."""

RULE_WORDS = {
    "APPROVAL_EXPIRING": "an entry waits for a person and little time is left. Decide it on Approvals.",
    "AUDIT_CHAIN_BROKEN": "the audit log does not verify. Verify it on Audit, and find out who could write to it.",
    "BRAKE_ON": "an engine's local brake is on: it sends nothing. Take it off where it was put on, once that is safe.",
    "BROKER_BLOCKED": "the broker account is blocked or suspended; exits are refused as well. Ask the broker.",
    "CONTROL_FLAPPING": "a scope is paused and resumed again and again. Find out what does it, and agree.",
    "DAILY_LOSS_NEAR": "a profile has lost most of its daily limit. Look at its positions, or pause it.",
    "ENGINE_DEAD": "an engine with active profiles is silent. Start it again; stops rest at the broker meanwhile.",
    "ENGINE_FAULT": "something on an engine's machine keeps it from opening positions. See Engine for what it says.",
    "ENTRY_AFTER_PAUSE": "an entry lived at the broker after it was over here. It is cancelled; look for what was "
    "frozen.",
    "JOB_LATE": "a job has not ended well within its limit. See Engine for its last error.",
    "LIVE_WITHOUT_NOTIFIER": "a profile trades live and nobody would be told of anything. Set ALERT_URLS for the "
    "engine.",
    "NOTICE_UNDELIVERED": "a notice was given up. Look at the outbox below and at the addresses in ALERT_URLS.",
    "ORDER_UNKNOWN": "what became of an order at the broker is not known. It is looked up; its symbol takes no "
    "entries.",
    "PAUSED_LONG": "something is paused for long, and no end is planned. Resume it, or plan when it ends.",
    "PAUSED_VOLATILE": "something is paused while its symbols move much. Look at the open positions.",
    "POSITION_UNPROTECTED": "no stop at the broker covers a position in full. Close it, or place a stop by hand.",
    "RECONCILIATION_BREAK": "our books and the broker's differ. See Engine for what was done and what to do.",
}
