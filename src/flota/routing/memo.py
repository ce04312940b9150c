"""What was resolved for one cluster before, so that an unchanged input gives the very same output."""

from collections.abc import Hashable, Iterable

from flota.routing.keys import Target


class Memo:
    """Answers by target: those that hold, and of those that lapsed the last one, whose equal parts are kept.

    It never changes what is answered, only whether the answer is a new object.
    """

    def __init__(self) -> None:
        self._holds: dict[Target, dict[Hashable, object]] = {}
        self._lapsed: dict[Target, dict[Hashable, object]] = {}

    def recall(self, target: Target, detail: Hashable) -> object | None:
        """The answer if it holds, else None."""
        details = self._holds.get(target)
        return None if details is None else details.get(detail)

    def before(self, target: Target, detail: Hashable) -> object | None:
        """The last answer, also if it lapsed."""
        return self.recall(target, detail) or self._lapsed.get(target, {}).get(detail)

    def keep(self, target: Target, detail: Hashable, answer: object) -> None:
        """Note an answer."""
        self._holds.setdefault(target, {})[detail] = answer

    def expire(self, changed: Iterable[Target] | None) -> None:
        """Let the answers about these targets lapse; None = all."""
        for target in list(self._holds) if changed is None else changed:
            details = self._holds.pop(target, None)
            if details is not None:
                self._lapsed.setdefault(target, {}).update(details)

    def forget(self, target: Target) -> None:
        """Drop all about a target that no route refers to any more."""
        self._holds.pop(target, None)
        self._lapsed.pop(target, None)
