"""Pure decisions: values in, values out; no clock, no network, no logging."""
