"""The sign-in page: plain HTML, so that it works before any script runs."""

from html import escape

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in · Interlock</title>
<style>
  :root {{ --page: #f4f6f9; --card: #fff; --ink: #0f172a; --soft: #475569; --line: #cbd5e1; --field: #fff;
           --accent: #1d4ed8; --accent-ink: #fff; --bad: #b42318; --bad-page: #fef3f2; --bad-line: #fda29b; }}
  @media (prefers-color-scheme: dark) {{
    :root {{ --page: #0b1220; --card: #111c30; --ink: #f1f5f9; --soft: #a3b1c6; --line: #334155; --field: #0b1220;
             --accent: #376aec; --bad: #fda29b; --bad-page: #3a1512; --bad-line: #7a271a; }} }}
  * {{ box-sizing: border-box; }}
  body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 24px; background: var(--page);
         color: var(--ink); font: 16px/1.5 "Source Sans Pro", system-ui, -apple-system, "Segoe UI", sans-serif; }}
  main {{ width: 100%; max-width: 380px; background: var(--card); border: 1px solid var(--line); border-radius: 12px;
         padding: 32px; }}
  h1 {{ margin: 0; font-size: 26px; letter-spacing: -0.01em; }}
  p.lead {{ margin: 4px 0 24px; color: var(--soft); }}
  label {{ display: block; margin: 16px 0 4px; font-weight: 600; font-size: 14px; }}
  input {{ width: 100%; padding: 10px 12px; font: inherit; color: inherit; background: var(--field);
          border: 1px solid var(--line); border-radius: 8px; }}
  input:focus, button:focus-visible {{ outline: 3px solid color-mix(in srgb, var(--accent) 45%, transparent);
          outline-offset: 1px; border-color: var(--accent); }}
  button {{ width: 100%; margin-top: 24px; padding: 11px; font: inherit; font-weight: 600; color: var(--accent-ink);
           background: var(--accent); border: 0; border-radius: 8px; cursor: pointer; }}
  .error {{ margin: 0 0 8px; padding: 10px 12px; color: var(--bad); background: var(--bad-page);
           border: 1px solid var(--bad-line); border-radius: 8px; }}
</style>
</head>
<body>
<main>
  <h1><svg width="36" height="24" viewBox="0 0 36 24" fill="none" stroke-width="4" aria-hidden="true">
    <circle cx="12" cy="12" r="9" stroke="#3b82f6"/><circle cx="23" cy="12" r="9" stroke="#f59e0b"/>
  </svg> Interlock</h1>
  <p class="lead">Sign in to see and control automated trading.</p>
  {error}
  <form method="post" action="/auth/login">
    <input type="hidden" name="next" value="{next}">
    <label for="email">E-mail</label>
    <input id="email" name="email" type="email" autocomplete="username" required value="{email}"{focus_email}>
    <label for="password">Password</label>
    <input id="password" name="password" type="password" autocomplete="current-password" required{focus_password}>
    <button type="submit">Sign in</button>
  </form>
</main>
</body>
</html>
"""


def login_form(*, next_path: str, email: str = "", error: str = "") -> str:
    """Return the sign-in page; the e-mail address typed before is kept, the password never."""
    return _PAGE.format(
        next=escape(next_path, quote=True),
        email=escape(email, quote=True),
        error=f'<p class="error" role="alert">{escape(error)}</p>' if error else "",
        focus_email="" if email else " autofocus",
        focus_password=" autofocus" if email else "",
    )
