"""``Wire``: a proxy between programs and the server's socket that harms what passes, as told.

One for each host and one for the producers, run by the soak in a thread of its own. It knows exchanges (one send of a
client, which may carry several commands) and bytes; what is in them does not matter to it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

#: Bytes read at once. Fewer makes a throttled line smoother, more costs less.
CHUNK = 16_384


@dataclass(eq=False)
class _Pair:
    """One connection, on both sides of us."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    loses_reply: bool = False


#: Takes what came, and returns what goes on and whether the connection stays.
_Harm = Callable[[bytes, _Pair], tuple[bytes, bool]]


class Wire:
    """Listens on a port of 127.0.0.1 and passes on to a unix socket.

    Args:
        target: the server's socket.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        #: Seconds that everything takes longer, each way.
        self.delay = 0.0
        #: Bytes a second, each way; 0: as they come.
        self.rate = 0
        #: New connections are closed at once.
        self.refuses = False
        #: What the server says is thrown away.
        self.mute = False
        self._lose_reply_in = 0
        self._cut_request_in = 0
        self._cut_reply_in = 0
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="wire", daemon=True)
        self._thread.start()
        started.wait()

    @property
    def url(self) -> str:
        """What programs connect to."""
        return f"redis://127.0.0.1:{self.port}"

    # Harm

    def cut(self) -> None:
        """Close every connection."""
        self._call(self._cut)

    def stall(self) -> None:
        """Let nothing pass until ``heal``; what was sent meanwhile arrives then."""
        self._call(self._flowing.clear)

    def lose_reply(self, exchange: int) -> None:
        """Let the server carry out that exchange, counted from now, throw its reply away, and close the connection."""
        self._lose_reply_in = exchange

    def cut_request(self, byte: int) -> None:
        """Close a connection after so many more bytes have gone to the server, wherever in a command that is."""
        self._cut_request_in = byte

    def cut_reply(self, byte: int) -> None:
        """Close a connection after so many more bytes have come from the server."""
        self._cut_reply_in = byte

    def heal(self) -> None:
        """Pass everything on again; connections that have missed replies are closed."""
        if self.mute:
            self.cut()
        self.delay, self.rate, self.refuses, self.mute = 0.0, 0, False, False
        self._lose_reply_in = self._cut_request_in = self._cut_reply_in = 0
        self._call(self._flowing.set)

    def close(self) -> None:
        """Close everything."""
        self._call(self._loop.stop)
        self._thread.join(5)

    # The loop's thread

    def _call(self, function: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(function)

    def _run(self, started: threading.Event) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        self._cut()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _cut(self) -> None:
        for pair in self._pairs:
            pair.client.transport.abort()
            pair.server.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        pair = None
        try:
            if self.refuses:
                return
            replies, server = await asyncio.open_unix_connection(self._target)
            pair = _Pair(client, server)
            self._pairs.add(pair)
            pumps = [
                asyncio.ensure_future(self._pump(reader, server, self._request, pair)),
                asyncio.ensure_future(self._pump(replies, client, self._reply, pair)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # the server is away, or the wire is closed: either way the client sees its connection closed
        finally:
            if pair is not None:
                self._pairs.discard(pair)
                pair.server.transport.abort()
            client.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, harm: _Harm, pair: _Pair) -> None:
        """Pass on until either side closes or harm is done."""
        with suppress(OSError):
            while data := await source.read(CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
                await self._flowing.wait()
                data, goes_on = harm(data, pair)
                sink.write(data)
                await sink.drain()
                if not goes_on:
                    return

    def _request(self, data: bytes, pair: _Pair) -> tuple[bytes, bool]:
        if self._lose_reply_in:
            self._lose_reply_in -= 1
            if not self._lose_reply_in:
                pair.loses_reply = True
        if self._cut_request_in:
            if self._cut_request_in <= len(data):
                data, self._cut_request_in = data[: self._cut_request_in], 0
                return data, False
            self._cut_request_in -= len(data)
        return data, True

    def _reply(self, data: bytes, pair: _Pair) -> tuple[bytes, bool]:
        if self.mute:
            return b"", True
        if pair.loses_reply:
            return b"", False
        if self._cut_reply_in:
            if self._cut_reply_in <= len(data):
                data, self._cut_reply_in = data[: self._cut_reply_in], 0
                return data, False
            self._cut_reply_in -= len(data)
        return data, True
