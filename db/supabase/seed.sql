-- Demo profiles for a fresh installation: two analysts, each with two strategies of their own.
-- Run once after the demo accounts exist; finds their owners by e-mail.

insert into public.profiles (owner_id, name, strategy, symbols, timeframe, capital_usd, params)
select m.user_id, p.name, p.strategy, p.symbols, p.timeframe, p.capital_usd, p.params::jsonb
from (values
    ('alice@interlock.local', 'Alice trend daily', 'ma_crossover', array['AAPL', 'MSFT', 'IBM', 'GOOG'], '1Day', 25000.00,
     '{"fast": 5, "slow": 20, "position_pct": "0.24", "stop_loss_pct": "0.06", "take_profit_pct": "0.15"}'),
    ('alice@interlock.local', 'Alice dips hourly', 'rsi_reversion', array['AAPL', 'MSFT', 'IBM', 'GOOG', 'FB'], '1Hour', 25000.00,
     '{"period": 6, "low": 25, "high": 65, "position_pct": "0.20", "stop_loss_pct": "0.03", "take_profit_pct": "0.04"}'),
    ('bob@interlock.local', 'Bob trend hourly', 'ma_crossover', array['AAPL', 'IBM', 'GOOG'], '1Hour', 25000.00,
     '{"fast": 6, "slow": 24, "position_pct": "0.30", "stop_loss_pct": "0.04", "take_profit_pct": "0.08"}'),
    ('bob@interlock.local', 'Bob dips daily', 'rsi_reversion', array['AAPL', 'MSFT', 'IBM', 'GOOG'], '1Day', 25000.00,
     '{"period": 4, "low": 30, "high": 70, "position_pct": "0.24", "stop_loss_pct": "0.05", "take_profit_pct": "0.08"}')
) as p (email, name, strategy, symbols, timeframe, capital_usd, params)
join public.members m on lower(m.email) = p.email
on conflict (owner_id, name) do nothing;
