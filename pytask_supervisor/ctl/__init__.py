"""``pytaskctl``: starts, stops and watches tasks from the shell.

The reader comes from ``[project.scripts]`` (``run``) or a test (``main``). ``arguments`` reads the
command line, ``dispatch`` finds the verb and turns errors into sentences, ``session`` is the way to
Redis, ``verbs`` and ``follow`` hold one function a verb, ``output`` writes. ``workers``,
``replacing`` and ``top`` talk to a supervisor, through ``control_client``.

It is a client like any other: it goes through ``PyTaskHelpers`` and the control socket, and never
starts a worker or a server.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from pytask_supervisor.shared.redact import shown_words

from .arguments import UsageError, parse
from .output import Output, Unwritable

#: Exit codes: done; not done, with a sentence on stderr; a wrong command line; ended by Ctrl-C. ``replacing`` adds one.
DONE, NOT_DONE, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(  # noqa: PLR0911 - one for each way to end
    argv: Sequence[str], environ: Mapping[str, str], stdout: TextIO, stderr: TextIO
) -> int:
    """Do what the command line says and return the exit code.

    Args:
        argv: the words after the program's name.
        environ: where ``PYTASK_REDIS_URL`` and the key names are looked up.
        stdout: gets the result: plain text, a table if it is a terminal, or JSON.
        stderr: gets one sentence for each thing that could not be done, never a password.

    Returns:
        0 done; 1 not done; 2 wrong usage; 3 not known in time (``workers`` with ``--wait``); 130 interrupted by
        Ctrl-C (``events`` ends with 0 then).
    """
    output = Output(stdout, stderr)
    try:
        try:
            options = parse(argv, environ, stdout, _here())
            if options is None:
                return DONE
            output.as_json = options.as_json
            if options.verb == "workers":
                from .workers import workers  # noqa: PLC0415 - only what is needed

                return workers(options, output)
            # Only now, since redis loads slowly, and a mistake is to be reported at once.
            from .dispatch import run_top, run_verb  # noqa: PLC0415

            return (run_top if options.verb == "top" else run_verb)(options, output)
        except UsageError as error:
            output.complain(str(error))
            return USAGE
        except KeyboardInterrupt:
            return INTERRUPTED
        finally:
            output.flush()
    except Unwritable as error:
        output.complain(str(error))
        return NOT_DONE
    except BrokenPipeError:
        # The reader has seen enough, as in ``pytaskctl list | head``.
        return DONE


def _here() -> Path | None:
    try:
        return Path.cwd()
    except OSError:
        return None  # Another program has removed it.


def _hide_passwords(argv: Sequence[str]) -> None:
    """All users can see in ``ps`` the words of a command, as long as ``events`` or ``top`` runs."""
    shown = shown_words(argv)
    if shown != list(argv):
        from setproctitle import setproctitle  # noqa: PLC0415 - only where there is something to hide

        setproctitle(" ".join(shown))


def run() -> None:
    """The console script."""
    # Both are None when the shell closed them (``>&-``).
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - for the program's life
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    # A character that the terminal's encoding lacks is escaped, and does not end the program.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    _hide_passwords(sys.argv)
    code = main(sys.argv[1:], os.environ, sys.stdout, sys.stderr)
    # Python flushes once more at its end, and would complain of a pipe that is gone.
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
