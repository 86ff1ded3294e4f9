"""A social network: users follow each other, and what one of them posts is in the home timelines of those who follow,
and of those who are mentioned."""
import random
import re
import uuid
from typing import TypedDict

from weft.service import Error, List, Map, Service, now


class UnknownUser(Error):
    """There is no such user."""


class Link(TypedDict):
    """An address with its short name."""

    url: str
    short: str


class Post(TypedDict):
    """What somebody has posted."""

    id: str
    user: str
    at: str
    text: str  # with short names of its addresses
    mentions: list[str]
    links: list[Link]


class ComposePost(Service):
    """What users call."""

    def compose(self, user: str, text: str) -> dict:
        """Posts a text: it is stored, and in all timelines, when the call returns."""
        User.at().find(user)
        post = {"id": UniqueID.at().next(), "user": user, "at": now().isoformat(), **Text.at().process(text)}
        PostStorage.at().store(post)
        UserTimeline.at(user).add(post["id"])
        readers = SocialGraph.at().followers(user) + post["mentions"]
        for reader in dict.fromkeys(readers):
            if reader != user:
                HomeTimeline.at(reader).add(post["id"])
        return post


class UniqueID(Service):
    """Makes IDs."""

    def next(self) -> str:
        """Makes one."""
        return str(uuid.uuid4())


class Text(Service):
    """Finds out what a text refers to."""

    def process(self, text: str) -> dict:
        """Finds the users whom a text mentions, those of them that there are, and shortens its addresses."""
        names = re.findall(r"@([A-Za-z0-9_-]+)", text)
        urls = re.findall(r"https?://\S+", text)
        mentions = User.at().filter(names) if names else []
        links = URLShortener.at().compose(urls) if urls else []
        shorts = iter(links)
        text = re.sub(r"https?://\S+", lambda _: next(shorts)["short"], text)
        return {"text": text, "mentions": mentions, "links": links}


class URLShortener(Service):
    """Gives addresses short names."""

    urls: Map[str, str]  # by short name

    def compose(self, urls: list) -> list:
        """Gives each address a short name, a new one each time."""
        links = [{"url": url, "short": "http://short/%016x" % random.getrandbits(64)} for url in urls]
        for link in links:
            self.urls[link["short"]] = link["url"]
        return links

    def expand(self, short: str) -> str:
        """Returns the address that has a short name, "" if there is none."""
        return self.urls.get(short, "")


class User(Service):
    """Knows the users."""

    ids: Map[str, str]  # by name

    def register(self, names: list) -> None:
        """Adds users."""
        for name in names:
            self.ids[name] = str(uuid.uuid4())

    def find(self, name: str) -> str:
        """Returns the ID of a user."""
        if name not in self.ids:
            raise UnknownUser("user %r: there is no such user" % name)
        return self.ids[name]

    def filter(self, names: list) -> list:
        """Returns those names that belong to a user, each one once."""
        return [name for name in dict.fromkeys(names) if name in self.ids]


class SocialGraph(Service):
    """Knows who follows whom."""

    readers: Map[str, list]  # by whom they follow

    def follow(self, user: str, others: list) -> None:
        """Has user follow others."""
        for other in others:
            readers = self.readers.setdefault(other, [])
            if user not in readers:
                readers.append(user)

    def followers(self, user: str) -> list:
        """Returns who follows user."""
        return self.readers.get(user, [])


class PostStorage(Service):
    """Has all posts."""

    posts: Map[str, Post]  # by ID

    def store(self, post: dict) -> None:
        """Stores a post."""
        self.posts[post["id"]] = post

    def read(self, ids: list) -> list:
        """Returns posts, of those IDs that there are."""
        return [self.posts[name] for name in ids if name in self.posts]


class UserTimeline(Service):
    """What a user has posted; each object is one user."""

    ids: List[str]

    def add(self, name: str) -> None:
        """Adds a post."""
        self.ids.append(name)

    def read(self, n: int) -> list:
        """Returns the latest posts, at most n, the newest first."""
        return PostStorage.at().read(self.ids[-n:][::-1])


class HomeTimeline(Service):
    """What there is for a user to read; each object is one user."""

    ids: List[str]

    def add(self, name: str) -> None:
        """Adds a post."""
        self.ids.append(name)

    def read(self, n: int) -> list:
        """Returns the latest posts, at most n, the newest first."""
        return PostStorage.at().read(self.ids[-n:][::-1])
