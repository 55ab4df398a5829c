"""The embedded default, for a machine with no Supabase project and no Alpaca account."""
