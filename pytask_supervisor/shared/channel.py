"""The two socket pairs between master and child: one JSON object a line, in both directions.

One, the channel, ends in the child's loop; the other, the wire, ends in the native thread beside it. ``messages.py``
declares the messages on both; anything else ends the connection (``breach``).

The end of the stream tells each side that the other died. Neither side ever blocks here: what does not fit into the
socket waits in the object and goes out with the next ``send``. A side that sends without end does not hold the other
up either, since a turn takes a bounded part of what has come.
"""

from __future__ import annotations

import json
import socket

from pytask_supervisor.shared.messages import FROM_THREAD, TO_CHILD, TO_MASTER, Message, Vocabulary
from pytask_supervisor.shared.shapes import MisshapenError

#: Bytes kept for a reader that does not read; beyond that messages are dropped. So a stopped master (SIGSTOP) costs a
#: child some beats, but no memory.
MOST_UNSENT = 65_536
#: Bytes of the longest message: a tally of all names that a worker counts one by one, each as long as possible.
LONGEST_LINE = 262_144
#: Bytes and messages taken in one turn of the listener. A child sends five messages a second.
CHUNK, MOST_MESSAGES = 65_536, 200
#: Turns in a row that may leave messages unread. The master reads from a child at most twenty times a second, so this
#: is ten seconds without a pause, and tens of thousands of messages.
MOST_TURNS_BEHIND = 200

#: What the master receives and sends on each line.
OF_LOOP = (TO_MASTER, TO_CHILD)
OF_THREAD = (FROM_THREAD, TO_CHILD)


class Channel:
    """One end. Not thread-safe; greenlets may share it, since its methods do not yield."""

    def __init__(self, end: socket.socket, hears: Vocabulary, says: Vocabulary) -> None:
        end.setblocking(False)
        self._socket = end
        self._hears = hears
        self._says = says
        self._unsent = bytearray()
        self._unread = bytearray()
        #: Up to where no end of a line was found.
        self._searched = 0
        self._turns_behind = 0
        #: The other side is gone, or has sent what is not a message.
        self.at_end = False
        #: What it sent that is not a message, in words that can be shown; nothing is read after that.
        self.breach: str | None = None

    @classmethod
    def pair(cls, line: tuple[Vocabulary, Vocabulary] = OF_LOOP) -> tuple[Channel, Channel]:
        """Both ends, for the two sides of a fork; the first is the master's."""
        ours, theirs = socket.socketpair()
        return cls(ours, *line), cls(theirs, *reversed(line))

    @classmethod
    def of_child(cls, end: socket.socket, line: tuple[Vocabulary, Vocabulary]) -> Channel:
        """The child's end of a line, from its descriptor."""
        return cls(end, *reversed(line))

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    @property
    def has_room(self) -> bool:
        """Whether what is sent now will not be dropped."""
        self._flush()
        return not self.at_end and len(self._unsent) <= MOST_UNSENT

    def send(self, message: Message) -> bool:
        """Send within the bounds of its kind, or keep for the next ``send``; False if the reader is too far behind."""
        if not self.has_room:
            return False
        self._unsent += json.dumps(self._says.fit(message)).encode() + b"\n"
        self._flush()
        return True

    @property
    def unread(self) -> int:
        """How many bytes have come that were not heard yet."""
        return len(self._unread)

    @property
    def unsent(self) -> int:
        """How many bytes wait until the other side reads."""
        return len(self._unsent)

    @property
    def is_behind(self) -> bool:
        """Whether ``receive`` has left messages that have come already."""
        return b"\n" in self._unread

    def receive(self) -> list[Message]:
        """What has come whole, or a bounded part of it; see ``at_end`` and ``breach`` afterwards."""
        messages: list[Message] = []
        if self.breach is not None:
            return messages
        try:
            self._read()
            while len(messages) < MOST_MESSAGES and (line := self._next_line()) is not None:
                messages.append(self._hears.read(line))
            self._turns_behind = self._turns_behind + 1 if self.is_behind else 0
            if self._turns_behind > MOST_TURNS_BEHIND:
                raise MisshapenError("it sends without end")
        except MisshapenError as error:
            self.breach = str(error)
            self.at_end = True
            self._unread.clear()
        return messages

    def _read(self) -> None:
        # A bounded part; but a line that has not come whole must be able to.
        room = CHUNK - len(self._unread) if self.is_behind else CHUNK
        while room > 0 and not self.at_end:
            try:
                chunk = self._socket.recv(room)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                chunk = b""
            self.at_end = not chunk
            self._unread += chunk
            room -= len(chunk)

    def _next_line(self) -> bytearray | None:
        end = self._unread.find(b"\n", self._searched)
        if max(end, len(self._unread) if end < 0 else 0) > LONGEST_LINE:
            raise MisshapenError(f"a line of more than {LONGEST_LINE} bytes: {bytes(self._unread[:80])!r}")
        if end < 0:
            self._searched = len(self._unread)
            return None
        line = self._unread[:end]
        del self._unread[: end + 1]
        self._searched = 0
        return line

    def send_last(self, message: Message, timeout: float) -> None:
        """Send and wait until it is out, at most ``timeout`` seconds: the last words of a child."""
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
