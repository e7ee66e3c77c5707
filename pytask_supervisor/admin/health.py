"""What ``/healthz`` answers: whether any worker can take tasks, in a word and a sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pytask_supervisor.master.commands import SlotReport

#: Seconds without a beat after which a worker does not count. Longer: pauses are borne. Shorter: a
#: worker that hangs is seen sooner.
FRESH = 5.0


def health(slots: Sequence[SlotReport], now: float, *, is_quiet: bool) -> tuple[bool, str]:
    """Whether any worker can take tasks, and which cannot, and why; ``now`` is ``time.monotonic()``.

    Quiet workers count: it was asked for, and they can claim at any time.
    """
    troubles = [(slot, _trouble(slot, now)) for slot in slots]
    able = sum(trouble is None for _, trouble in troubles)
    sentence = f"{able} of {len(slots)} workers can take tasks" + (", and were told to be quiet" if is_quiet else "")
    lines = [sentence, *(f"worker {slot.slot} {trouble}" for slot, trouble in troubles if trouble)]
    return able > 0, "\n".join(lines)


def _trouble(slot: SlotReport, now: float) -> str | None:
    if slot.stage != "ready":
        return f"is {slot.stage}"
    if "at" not in slot.figures:
        return "has not beaten yet"
    silent = now - slot.figures["at"]
    if silent > FRESH:
        return f"has not beaten for {silent:.0f} s"
    return None if slot.figures.get("up") else "does not reach Redis"
