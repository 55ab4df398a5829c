"""The gateway: the part of Supabase that stands in front of PostgREST, and the accounts behind it."""
