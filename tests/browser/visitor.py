"""A person at a browser: signs in, looks at pages, clicks."""

from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.support.clients import SignIn

PATIENCE_MS = 30_000  # only what never comes takes this long


class Visitor:
    """One browser with its own cookies, and one tab."""

    def __init__(self, context: BrowserContext, url: str, sign_in: SignIn) -> None:
        self.context = context
        self.url = url
        self.hosts: set[str] = set()
        context.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        self.tab: Page = context.new_page()
        self.tab.set_default_timeout(PATIENCE_MS)
        self._sign_in = sign_in

    def open(self, path: str = "/") -> None:
        """Type an address."""
        self.tab.goto(self.url + path)

    def fill_in(self, name: str, password: str | None = None) -> None:
        """Fill in the sign-in form and send it."""
        self.tab.get_by_label("E-mail").fill(self._sign_in.email(name))
        self.tab.get_by_label("Password").fill(password or self._sign_in.password(name))
        self.tab.get_by_role("button", name="Sign in").click()

    def signed_in(self, name: str, path: str = "/", title: str = "Overview") -> "Visitor":
        """Sign in and wait for the page that was asked for."""
        self.open(path)
        self.fill_in(name)
        self.sees_page(title)
        return self

    def sees_page(self, title: str) -> None:
        """Wait until a page with this title is there, and complete."""
        expect(self.tab.get_by_role("heading", name=title, exact=True)).to_be_visible(timeout=PATIENCE_MS)
        self.is_complete()

    def is_complete(self) -> None:
        """Wait until a page's script has run to its end."""
        expect(self.tab.get_by_role("heading", level=1)).to_be_visible(timeout=PATIENCE_MS)
        expect(self.tab.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=PATIENCE_MS)

    def goes_to(self, title: str) -> None:
        """Choose a page from the menu."""
        self.tab.get_by_test_id("stSidebarNav").get_by_role("link", name=title, exact=True).click()
        self.sees_page(title)

    @property
    def badge(self) -> Locator:
        """The pill that says what mode trading is in, as long as it may be believed."""
        return self.tab.get_by_test_id("badge-mode").filter(visible=True)

    def sees(self, text: str, timeout_ms: int = PATIENCE_MS) -> None:
        """Wait until a text is on the page."""
        expect(self.tab.get_by_text(text).filter(visible=True).first).to_be_visible(timeout=timeout_ms)

    def button(self, name: str) -> Locator:
        """A button by its name."""
        return self.tab.get_by_role("button", name=name, exact=True)
