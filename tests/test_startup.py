import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from thaw import stages
from thaw.startup import uncollected

STAGES = Path(stages.__path__[0])


def test_garbage_waits_and_is_collected_again_afterwards() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_inside_comes_out_with_the_collector_on() -> None:
    with pytest.raises(ZeroDivisionError), uncollected():
        raise ZeroDivisionError
    assert gc.isenabled()


# ---- the end of a stage

WORKS = """
import atexit, sys, threading, time
from thaw.startup import run_stage

class Taken:
    def __del__(self):
        print("taken apart")

taken = Taken()

def main(*words):
    def last():
        time.sleep(0.2)
        print("thread joined")
    threading.Thread(target=last).start()
    atexit.register(print, "registered")
    print(*words)

run_stage(main, *sys.argv[1:])
"""


def ended(program: str, *words: str, stdout: Any = subprocess.PIPE) -> "subprocess.CompletedProcess[str]":
    """With output that is buffered, as into a file or pipe of one's own."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=300, env=env)


def test_a_stage_ends_when_everything_is_written_and_takes_nothing_apart() -> None:
    done = ended(WORKS, "made", "it")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["made it", "thread joined", "registered"]


@pytest.mark.parametrize(
    ("fails", "status", "said"),
    [
        ("raise InputError('params.yaml: nothing')", 1, "thaw: params.yaml: nothing\n"),
        ("raise SystemExit(3)", 3, ""),
        ("1 / 0", 1, "ZeroDivisionError"),
    ],
)
def test_a_stage_that_fails_ends_as_python_does(fails: str, status: int, said: str) -> None:
    program = f"from thaw.errors import InputError\nfrom thaw.startup import run_stage\ndef main():\n    {fails}\nrun_stage(main)"
    done = ended(program)
    assert done.returncode == status and said in done.stderr and (said or not done.stderr)


def test_a_stage_inside_another_program_leaves_its_end_alone() -> None:
    program = "from thaw.startup import run_stage\ndef stage():\n    print('made it')\nrun_stage(stage)\nraise SystemExit(3)"
    done = ended(program)
    assert (done.returncode, done.stdout) == (3, "made it\n")


def test_a_stage_without_an_output_ends_quietly() -> None:
    done = ended("import sys\nsys.stdout = None\n" + WORKS, "unseen")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_words_that_cannot_be_written_are_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = ended(WORKS, "lost", stdout=full)
    assert done.returncode != 0 and "No space left" in done.stderr


def test_every_stage_ends_so() -> None:
    ends = {file.stem: file.read_text().splitlines()[-1].strip() for file in STAGES.glob("*.py") if file.stem != "__init__"}
    assert len(ends) == 15 and all(end.startswith("run_stage(main") for end in ends.values()), ends
