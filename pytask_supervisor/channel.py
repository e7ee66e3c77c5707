"""The two socket pairs between master and child: one JSON object a line, in both directions.

One, the channel, ends in the child's loop; the other, the wire, in the native thread beside it.

===================================== ==========================================================
up, from the child                    meaning
===================================== ==========================================================
``{"worker": id}``                    its id in Redis, said before it claims anything
``{"ready": true}``                   it waits for work now
``{"beat": figures}``                 each second, see ``gauges.py``
``{"tally": figures}``                likewise: what was done since the last one, see ``tally.py``
``{"queues": lengths}``               how many ids stand in each queue, when asked
``{"warning": sentence}``             for the operator; the master says each sentence once
``{"failed": sentence, "detail"}``    why it is about to leave with an exit code other than 0
``{"handed_back": id, "count"}``      the order is carried out
``{"stopping": true}``                it was asked to stop, by whomever
``{"left": true}``                    its tasks are back in the queue: nothing is to be handed back
===================================== ==========================================================

up, on the wire                       meaning
``{"pulse": seconds}``                twice a second: how long the loop has been silent
``{"thread": number}``               first of all: as the kernel knows this thread
``{"blocked": words, "culprit": id}`` which task blocks the loop, and where; the id is empty where it is none
``{"hung": words, "seconds",          the loop is blocked for too long: kill us
"culprit": id}``
===================================== ==========================================================
===================================== ==========================================================
down, to the child                    meaning
===================================== ==========================================================
``{"hand_back": id}``                 put a dead worker's tasks back in the queue; ``culprit``, ``why``: by which task
                                      it hung, if it was killed for that
``{"quiet": true}``                   claim nothing new; false: claim again
``{"drain": seconds}``                claim nothing new, let short tasks end, then stop
``{"dump": true}``                    on both: log where each task stands
``{"count_queues": true}``            tell the lengths of the queues
``{"requeue": true}``                 stop, without waiting for what tasks do in their ``stop``
===================================== ==========================================================

The end of the stream tells either side that the other died. Neither side ever blocks here: what
does not fit into the socket waits in the object and goes out with the next ``send``.
"""

from __future__ import annotations

import json
import socket
from typing import Any

Message = dict[str, Any]

#: Bytes kept for a reader that does not read; beyond that messages are dropped. A stopped master
#: (SIGSTOP) thus costs a child some beats, and no memory.
MOST_UNSENT = 65_536
#: A longer line is nobody's message.
LONGEST_LINE = 1_048_576


class Channel:
    """One end. Not thread-safe; greenlets may share it, since no method gives way."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._unsent = bytearray()
        self._unread = bytearray()
        #: The other side is gone.
        self.at_end = False

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Both ends, for the two sides of a fork."""
        ours, theirs = socket.socketpair()
        return cls(ours), cls(theirs)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    @property
    def has_room(self) -> bool:
        """Whether what is sent now will not be dropped."""
        self._flush()
        return not self.at_end and len(self._unsent) <= MOST_UNSENT

    def send(self, message: Message) -> bool:
        """Send, or keep for the next ``send``; False if the reader is so far behind that we drop."""
        if not self.has_room:
            return False
        self._unsent += json.dumps(message).encode() + b"\n"
        self._flush()
        return True

    def receive(self) -> list[Message]:
        """All that has come whole; see ``at_end`` afterwards."""
        while not self.at_end:
            try:
                chunk = self._socket.recv(65_536)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                chunk = b""
            self.at_end = not chunk
            self._unread += chunk
        *lines, rest = self._unread.split(b"\n")
        self._unread = rest if len(rest) <= LONGEST_LINE else bytearray()
        messages = [_parse(line) for line in lines]
        return [message for message in messages if message is not None]

    def send_last(self, message: Message, timeout: float) -> None:
        """Send and wait until it went out, at most ``timeout`` seconds: what a child says as it goes."""
        self.send(message)
        self._socket.settimeout(timeout)
        try:
            self._socket.sendall(self._unsent)
        except OSError:
            self.at_end = True

    def close(self) -> None:
        """Let go of this end."""
        self.at_end = True
        self._socket.close()

    def _flush(self) -> None:
        while self._unsent and not self.at_end:
            try:
                sent = self._socket.send(self._unsent)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.at_end = True
                return
            del self._unsent[:sent]


def _parse(line: bytes | bytearray) -> Message | None:
    """A line that is no JSON object is not from us: user code that wrote to our descriptor."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
