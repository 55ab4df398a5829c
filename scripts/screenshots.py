"""Take the documentation's screenshots from a running installation: every page, light and dark.

Start everything with `make run`, then `make screenshots` in another terminal.
"""

import json
import os
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from local import chromium

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
PAGES = {"overview": "/", "positions": "/positions", "orders": "/orders", "trades": "/trades",
         "performance": "/performance", "control": "/control", "approvals": "/approvals",
         "decisions": "/decisions", "what-if": "/what_if?what_loss_streak_max=100",
         "cost-of-control": "/cost_of_control", "signals": "/signals", "lockouts": "/lockouts",
         "risk": "/risk", "profiles": "/profiles", "members": "/members", "audit": "/audit", "engine": "/engine",
         "alerts": "/alerts"}  # fmt: skip
WIDTH, HEIGHT, HEIGHT_MAX = 1400, 900, 1400
SETTLE_MS = 2500
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def main() -> None:
    """Sign in as admin once per colour scheme and take every page."""
    home = Path(os.environ.get("LOCAL_HOME") or ROOT / ".local")
    if not (home / "env").is_file():
        sys.exit(f"Nothing is set up in {home}. Start it with `make run` first.")
    browser_path = chromium.find()
    if browser_path is None:
        sys.exit(chromium.MISSING)
    url = _app_url(home)
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(browser_path), args=CHROMIUM_FLAGS)
        for scheme in ("light", "dark"):
            _take_all(browser, scheme, url, home)
        browser.close()


def _take_all(browser: Browser, scheme: str, url: str, home: Path) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": WIDTH, "height": HEIGHT})  # type: ignore[arg-type]
    tab = context.new_page()
    tab.goto(f"{url}/auth/login")
    _settle(tab)
    tab.screenshot(path=IMAGES / f"sign-in-{scheme}.png")
    _sign_in(tab, home)
    for name, path in PAGES.items():
        tab.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        tab.goto(url + path)
        tab.get_by_role("heading", level=1).wait_for()
        _settle(tab)
        _fit(tab)
        tab.screenshot(path=IMAGES / f"{name}-{scheme}.png")
        print(f"docs/images/{name}-{scheme}.png")
    context.close()


def _sign_in(tab: Page, home: Path) -> None:
    accounts = json.loads((home / "accounts.json").read_text())
    admin = next(account for account in accounts if account["role"] == "admin")
    tab.get_by_label("E-mail").fill(admin["email"])
    tab.get_by_label("Password").fill(admin["password"])
    tab.get_by_role("button", name="Sign in").click()
    tab.get_by_role("heading", level=1, name="Overview").wait_for(timeout=30_000)


def _fit(tab: Page) -> None:
    """Make the window as high as the page, so that one picture shows all of it."""
    needed = int(tab.evaluate("document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight"))
    tab.set_viewport_size({"width": WIDTH, "height": min(max(needed, HEIGHT), HEIGHT_MAX)})
    _settle(tab)


def _settle(tab: Page) -> None:
    tab.wait_for_timeout(SETTLE_MS)


def _app_url(home: Path) -> str:
    pairs = (line.split("=", 1) for line in (home / "env").read_text().splitlines() if "=" in line)
    return dict(pairs)["APP_URL"].rstrip("/")


if __name__ == "__main__":
    main()
