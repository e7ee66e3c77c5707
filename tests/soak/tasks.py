"""Tasks that write what they do into the ledger. For the apps of the soak and of the fault tests.

Importing this module notes the birth of the worker.
"""

from __future__ import annotations

import multiprocessing
import os
import time

import gevent
from gevent.event import Event

from pytask_core import StopTask, Task
from tests.soak.ledger import VARIABLE, Ledger

_ledger = Ledger(os.environ[VARIABLE])
_ledger.write("born", pid=os.getpid())


class Noted(Task):
    """A task whose every run stands in the ledger."""

    version = 0
    runs = 0

    def start(self) -> str:
        proof = self._begin()
        how = "killed"
        try:
            output = self.work(proof)
            how = "returned"
            return output
        except self.Error:
            how = "error"
            raise
        except StopTask:
            how = "stopped"
            raise
        except Exception:
            how = "exception"
            raise
        finally:
            _ledger.write("end", run=proof.partition("=")[2], how=how)

    def work(self, proof: str) -> str:
        """What the task is there for; ``proof`` names the run, and is to be in the output."""
        raise NotImplementedError

    def _begin(self) -> str:
        # The copy's own token, from where the runner keeps it: the hash may name another owner by now.
        assert self.__pytask__ is not None
        worker = self.__pytask__.tools.worker.id
        token: str = self.__pytask__.emit.args[0].token  # type: ignore[attr-defined]
        Noted.runs += 1
        run = f"{worker}/{Noted.runs}"
        _ledger.write(
            "begin",
            run=run,
            id=self.id,
            worker=worker,
            token=token,
            pid=os.getpid(),
            version=self.version,
        )
        return f"run={run}"


class Short(Noted):
    """Some milliseconds, and then whatever it is told to be."""

    NAME = "soak/short"

    def __init__(self, seconds: float = 0.0, fate: str = "return") -> None:
        self.seconds = seconds
        self.fate = fate

    def work(self, proof: str) -> str:
        gevent.sleep(self.seconds)
        if self.fate == "error":
            raise self.Error(proof)
        if self.fate == "exception":
            raise RuntimeError(proof)
        return proof


class Forking(Noted):
    """Forks a process that waits, as one that makes a request would, and ends it in one of three ways."""

    NAME = "soak/forking"

    def __init__(self, how: str = "join") -> None:
        self.how = how

    def work(self, proof: str) -> str:
        if self.how == "fork":
            return self._by_hand(proof)
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0.3,))
        process.start()
        if self.how == "terminate":
            gevent.sleep(0.05)
            process.terminate()
        process.join()
        return proof

    @staticmethod
    def _by_hand(proof: str) -> str:
        pid = os.fork()
        if not pid:
            time.sleep(0.3)  # here what is left of the worker in the child would run
            os._exit(0)
        os.waitpid(pid, 0)
        return proof


class Forever(Noted):
    """Runs until ``StopTask``."""

    NAME = "soak/forever"

    def __init__(self, version: int = 0) -> None:
        self.version = version

    def work(self, proof: str) -> str:
        while True:
            self.emit("still", proof)
            gevent.sleep(0.5)


class Polite(Noted):
    """Runs until its ``stop`` is called, and returns by itself."""

    NAME = "soak/polite"

    def __init__(self, version: int = 0) -> None:
        self.version = version
        self.told = Event()

    def work(self, proof: str) -> str:
        self.told.wait()
        return proof

    def stop(self) -> None:
        self.told.set()
