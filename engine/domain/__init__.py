"""Pure decisions: values in, values out; no clock, no input or output, no randomness."""
