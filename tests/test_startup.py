import gc
import subprocess
import sys
from pathlib import Path

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


def test_a_stage_ends_when_everything_is_written_and_takes_nothing_apart() -> None:
    done = subprocess.run([sys.executable, "-c", WORKS, "made", "it"], capture_output=True, text=True, timeout=60)
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
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == status and said in done.stderr and (said or not done.stderr)


def test_a_stage_inside_another_program_leaves_its_end_alone() -> None:
    program = "from thaw.startup import run_stage\ndef stage():\n    print('made it')\nrun_stage(stage)\nraise SystemExit(3)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (3, "made it\n")


def test_a_stage_without_an_output_ends_quietly() -> None:
    program = "import sys\nsys.stdout = sys.stderr = None\n" + WORKS.replace("print", "str")
    done = subprocess.run([sys.executable, "-c", program, "unseen"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_words_that_cannot_be_written_are_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", WORKS, "lost"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode != 0 and "No space left" in done.stderr


def test_every_stage_ends_so() -> None:
    ends = {file.stem: file.read_text().splitlines()[-1].strip() for file in STAGES.glob("*.py") if file.stem != "__init__"}
    assert len(ends) == 15 and all(end.startswith("run_stage(main") for end in ends.values()), ends
