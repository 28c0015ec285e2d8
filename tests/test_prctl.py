"""What a process asks of the kernel about itself, in a process that may."""

import os
import subprocess
import sys

ASK = "import os, signal, sys; from engine.prctl import end_with_parent; "


def said(program):
    """What a child process of this test prints."""
    return subprocess.run(
        (sys.executable, "-c", ASK + program), capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_parent_that_has_ended_is_noticed():
    """True while the parent lives; False for one that is the parent no more, for no signal will come."""
    assert said(f"print(end_with_parent({os.getpid()}, signal.SIGTERM))") == "True"
    assert said("print(end_with_parent(1 << 22, signal.SIGTERM))") == "False"


def test_the_signal_comes_when_the_parent_ends():
    """A child that has asked for SIGTERM dies of it, though its parent was killed and could tell nobody."""
    program = (
        "r, w = os.pipe(); child = os.fork()\n"
        "if child == 0:\n"
        "    os.setsid(); parent = os.getppid()\n"
        "    signal.signal(signal.SIGTERM, lambda *_: (print('told', flush=True), os._exit(0)))\n"
        "    end_with_parent(parent, signal.SIGTERM); os.write(w, b'x')\n"
        "    while True: signal.pause()\n"
        "os.read(r, 1); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with subprocess.Popen((sys.executable, "-c", ASK + "\n" + program), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.read().strip() == "told"
