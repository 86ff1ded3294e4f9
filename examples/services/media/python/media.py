"""Reviews movies. A review is put together by services that each know a part of it; whichever brings the last part has
the review stored, for its author and for its movie."""
import uuid
from typing import TypedDict

from weft.service import Error, List, Map, Service, request

TEXT_MAX = 256  # characters of a review


class UnknownUser(Error):
    """There is no such user."""


class UnknownMovie(Error):
    """There is no such movie."""


class WrongRating(Error):
    """A rating is a number from 1 to 10."""


class NoText(Error):
    """A review says something."""


class WrongPart(Error):
    """A part of a review has something in it."""


class Review(TypedDict, total=False):
    """What somebody thinks of a movie; a draft lacks some of it."""

    id: str
    user: str  # its ID
    movie: str  # its ID
    rating: int
    text: str


class Frontend(Service):
    """What users call."""

    def compose(self, user: str, title: str, rating: int, text: str) -> str:
        """Writes a review, and returns its ID."""
        draft = request()
        name = UniqueID.at().upload(draft)
        User.at().upload(draft, user)
        MovieID.at().upload(draft, title, rating)
        Text.at().upload(draft, text)
        return name


class ComposeReview(Service):
    """Has drafts until they are whole."""

    drafts: Map[str, Review]

    def upload(self, draft: str, part: dict) -> None:
        """Adds a part to a draft; the last one makes it a review."""
        if not part or not all(part.values()):
            raise WrongPart("a part of a review has something in it")  # no review would come of the draft
        review = {**self.drafts.get(draft, {}), **part}
        if len(review) < 5:
            self.drafts[draft] = review
            return
        self.drafts.pop(draft, None)
        ReviewStorage.at().store(review)
        UserReview.at(review["user"]).add(review["id"])
        MovieReview.at(review["movie"]).add(review["id"])


class UniqueID(Service):
    """Makes IDs."""

    def upload(self, draft: str) -> str:
        """Gives the draft an ID, and returns it."""
        name = str(uuid.uuid4())
        ComposeReview.at().upload(draft, {"id": name})
        return name


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

    def upload(self, draft: str, name: str) -> None:
        """Gives the draft its author."""
        ComposeReview.at().upload(draft, {"user": self.find(name)})


class MovieID(Service):
    """Knows the movies."""

    ids: Map[str, str]  # by title

    def register(self, titles: list) -> None:
        """Adds movies."""
        for title in titles:
            self.ids[title] = str(uuid.uuid4())

    def find(self, title: str) -> str:
        """Returns the ID of a movie."""
        if title not in self.ids:
            raise UnknownMovie("movie %r: there is no such movie" % title)
        return self.ids[title]

    def upload(self, draft: str, title: str, rating: int) -> None:
        """Gives the draft its movie and, separately, the rating."""
        if not 1 <= rating <= 10:
            raise WrongRating("rating %d: a rating is a number from 1 to 10" % rating)
        ComposeReview.at().upload(draft, {"movie": self.find(title)})
        ComposeReview.at().upload(draft, {"rating": rating})


class Text(Service):
    """Looks after what reviews say."""

    def upload(self, draft: str, text: str) -> None:
        """Gives the draft its text, shortened if need be."""
        if not text:
            raise NoText("a review says something")
        ComposeReview.at().upload(draft, {"text": text[:TEXT_MAX]})


class ReviewStorage(Service):
    """Has all reviews."""

    reviews: Map[str, Review]  # by ID

    def store(self, review: dict) -> None:
        """Stores a review."""
        self.reviews[review["id"]] = review

    def read(self, ids: list) -> list:
        """Returns reviews, of those IDs that there are."""
        return [self.reviews[name] for name in ids if name in self.reviews]


class UserReview(Service):
    """What a user has written; each object is one user."""

    ids: List[str]

    def add(self, name: str) -> None:
        """Adds a review."""
        self.ids.append(name)

    def read(self) -> list:
        """Returns the user's reviews."""
        return ReviewStorage.at().read(list(self.ids))


class MovieReview(Service):
    """What was written about a movie; each object is one movie."""

    ids: List[str]

    def add(self, name: str) -> None:
        """Adds a review."""
        self.ids.append(name)

    def read(self) -> list:
        """Returns the reviews of the movie."""
        return ReviewStorage.at().read(list(self.ids))
