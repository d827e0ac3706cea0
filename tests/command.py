"""The `beb` command as a user meets it: in a process of its own, or, where only what it says counts, in this one."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

CODE = "from beb.cli.main import main; main()"


def beb(*arguments: str, cwd: Path) -> CompletedProcess[str]:
    """Run the command in a new process."""
    return subprocess.run(
        [sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=False, cwd=cwd
    )


def said(*arguments: str, cwd: Path) -> CompletedProcess[str]:
    """Run the command in this process, which has its libraries loaded. An exception that it lets through comes out."""
    from beb.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    code: int | str | None = 0
    with (
        contextlib.chdir(cwd),
        patch.object(sys, "argv", ["beb", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    return CompletedProcess(arguments, int(code or 0), out.getvalue(), err.getvalue())


def refused(done: CompletedProcess[str]) -> str:
    """The one line of an expected error."""
    assert done.returncode not in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    return line
