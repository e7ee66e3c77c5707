"""The words of the claimer."""

from __future__ import annotations

from pytask_core.outcomes import Passed
from pytask_core.worker.claiming.claimer import PASSED_OVER


def test_every_reason_for_which_an_id_is_passed_over_for_good_has_words_for_the_log() -> None:
    goes_on = {Passed.CLAIMED, Passed.CHANGED, Passed.LATER}
    assert set(PASSED_OVER) == set(Passed) - goes_on
