"""``Complaints``: what a part says where its turn fails, though Redis can be reached."""

from __future__ import annotations

import logging

from ..process.news import News

#: Seconds between two tries of a part while Redis answers it with an error. Longer: fewer vain tries. Shorter: what was
#: mended works sooner.
PAUSE = 1.0


class Complaints:
    """The sentences of one part.

    Args:
        log: where it says them.
        rejected: what Redis refuses; the log puts the server's answer behind it.
        remedy: what happens then.
        bug: what any other error means; the log puts the traceback behind it. Empty: the caller gets that error.
        is_once: whether an answer is said once until a turn goes well, and not each time.
        level: of the sentence on what Redis refuses.
    """

    def __init__(
        self,
        log: logging.Logger,
        rejected: str = "",
        remedy: str = "",
        *,
        bug: str = "",
        is_once: bool = True,
        level: int = logging.ERROR,
    ) -> None:
        self._log = log
        self._rejected = rejected
        self._remedy = remedy
        self._bug = bug
        self._is_once = is_once
        self._level = level
        self._news = News(keep=1)

    def rejects(self, error: Exception) -> None:
        """Redis answers with an error: other data stands where ours should, or a right is missing."""
        if not self._rejected:
            self.fails()
        elif not self._is_once or self._news.is_news(str(error)):
            self._log.log(self._level, "%s: %s. %s", self._rejected, error, self._remedy)

    def fails(self) -> None:
        """Called while an error is handled that we did not expect; raises it again where that is the caller's."""
        if not self._bug:
            raise  # noqa: PLE0704 - see above
        self._log.exception(self._bug)

    def over(self) -> None:
        """A turn went well."""
        self._news.over()
