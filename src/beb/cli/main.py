"""The command `beb`: start, and the last word."""

# Next to nothing is imported here, so that Ctrl-C at the start is already caught while the commands are being imported.
from __future__ import annotations

import os
import sys

INTERRUPTED = 130


def main() -> None:
    """Entry point: every expected error is one line on standard error and a non-zero exit."""
    try:
        _run()
    except KeyboardInterrupt:
        _stopped()
    except SystemExit as exit_:
        if exit_.code == INTERRUPTED:
            _stopped()
        raise


def _run() -> None:
    from beb.cli.app import app
    from beb.errors import BebError

    try:
        app(standalone_mode=True)
    except BebError as error:
        _say(f"error: {' '.join(str(error).split())}")
        sys.exit(error.exit_code)
    except MemoryError:
        _say("error: out of memory; finished work is saved: close other programs or lower --sentences, then run again")
        sys.exit(1)
    except BrokenPipeError:
        # The reader (a pager, head) has gone; what follows has nobody to read it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _stopped() -> None:
    _say("stopped; finished work is saved: run the same command again to go on")
    sys.exit(INTERRUPTED)


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - the last word of the program
