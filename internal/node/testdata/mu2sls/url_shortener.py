import hashlib

from compiler import decorators


@decorators.service
class UrlShortener:
    def __init__(self):
        self.urls = {}  # type: Persistent[dict]

    def ShortenUrls(self, long_url):
        if long_url in self.urls:
            return ("Found", self.urls[long_url])
        short = "http://s/" + hashlib.sha256(long_url.encode()).hexdigest()[:8]
        self.urls.update([(long_url, short)])
        return ("NotFound", short)

    def ComposeUrls(self, long_urls):
        return [self.ShortenUrls(u)[1] for u in long_urls]
