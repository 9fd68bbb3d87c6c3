"""The entry point: Ctrl-C while the modules of the command are imported."""

import signal
import subprocess
import sys

INTERRUPT_AT_IMPORT = """
import os, signal, sys
sys.addaudithook(lambda event, args: event == "import" and args[0] == "{module}" and os.kill(os.getpid(), {number}))
from chatkit.cli.__main__ import main
sys.argv = ["chatkit", "--version"]
main()
"""


def test_ctrl_c_while_modules_are_imported_prints_no_traceback() -> None:
    for module in ("typer", "chatkit.cli.main", "chatkit.cli.webhook"):
        code = INTERRUPT_AT_IMPORT.format(module=module, number=int(signal.SIGINT))
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
