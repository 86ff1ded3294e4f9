"""Gives addresses short names."""
import random

from weft.service import Error, Map, Service


class Unknown(Error):
    """Raised for what is no short name."""


class UrlShortener(Service):
    """Knows short names by address, and addresses by short name."""

    shorts: Map[str, str]
    urls: Map[str, str]

    def shorten(self, url: str) -> dict:
        """Returns the short name of an address, a new one if it has none."""
        if url in self.shorts:
            return {"url": url, "short": self.shorts[url], "known": True}
        short = "%010x" % random.getrandbits(40)
        while short in self.urls:
            short = "%010x" % random.getrandbits(40)
        self.shorts[url] = short
        self.urls[short] = url
        return {"url": url, "short": short, "known": False}

    def compose(self, urls: list) -> list:
        """Shortens several addresses."""
        return [{"url": url, "short": self.shorten(url)["short"]} for url in urls]

    def expand(self, short: str) -> str:
        """Returns the address that has a short name."""
        if short not in self.urls:
            raise Unknown("there is no such short name")
        return self.urls[short]
