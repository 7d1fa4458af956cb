"""Stages as forks of a warm process. In place of DVC a Python program of its name runs commands, by a shell, as DVC does."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from thaw import stages, warm
from thaw.startup import run_stage
from thaw.warm import FORKED, SWITCH

pytestmark = pytest.mark.skipif(sys.platform != "linux" or any(map(os.path.exists, warm.GPUS)), reason="forks are for Linux, without a GPU")

DVC = """
import json, signal, subprocess, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
for line in sys.stdin:
    asked = json.loads(line)
    with open(asked["out"], "w") as out, open(asked["err"], "w") as err:
        process = subprocess.Popen(["/bin/sh", "-c", asked["command"]], stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        print(process.pid, flush=True)
        print(process.wait(), flush=True)
"""
STAGE = """
import atexit, json, os, signal, sys, threading, time

def main(what="tell", *words):
    atexit.register(print, "registered")
    if what == "tell":
        threading.Thread(target=lambda: (time.sleep(0.2), print("thread joined"))).start()
        told = {"words": words, "argv": sys.argv[1:], "cwd": os.getcwd(), "stage": os.environ["DVC_STAGE"], "parent": os.getppid()}
        told |= {"torch": "torch" in sys.modules, "quiet": os.environ.get("MLFLOW_LOGGING_LEVEL"), "threads": trained()}
        told |= {"before": globals().setdefault("seen", 0), "random": __import__("random").random()}
        globals()["seen"] = 1
        print(json.dumps(told))
        print("complaint", file=sys.stderr)
    elif what == "wait":
        def end(number, frame):
            print("asked to end", flush=True)
            raise SystemExit(128 + number)
        signal.signal(signal.SIGTERM, end)
        print(os.getpid(), flush=True)
        time.sleep(120)
    elif what == "die":
        os.kill(os.getpid(), int(words[0]))
    elif what == "fail":
        from thaw.errors import InputError
        raise InputError("params.yaml: nothing")
    else:
        1 / 0

def trained():
    import torch
    layer = torch.nn.Conv2d(3, 64, 3)
    layer(torch.ones(8, 3, 64, 64)).sum().backward()  # on as many threads as there are cores
    return torch.get_num_threads()
"""
RUN = """
import sys
from thaw import warm
from thaw.errors import exit_with_one_line
status = warm.forked("a_stage", sys.argv[1:])
if status is None:
    print("not forked")
    sys.modules["__main__"] = __import__("a_stage")
    exit_with_one_line(sys.modules["__main__"].main, *sys.argv[1:])
sys.exit(status)
"""
LIMIT = 90  # s; an import can take long where the disk is slow


class Owner:
    """What runs stages, in a folder with one that does as it is told."""

    def __init__(self, folder: Path, program: str = "dvc") -> None:
        self.folder, self.number = folder, 0
        for name, text in ((program, DVC), ("a_stage.py", STAGE), ("run.py", RUN)):
            (folder / name).write_text(text)
        own = {name: value for name, value in os.environ.items() if name != SWITCH}
        own |= {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(warm.__file__).parents[1])])}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, program], cwd=folder, env=own, text=True, **pipes)

    def begin(self, *words: str, before: str = "DVC_STAGE=one", module: str = "run") -> int:
        """The number of the stage's own process, which the shell becomes."""
        self.number += 1
        command = f"export {before}; exec {sys.executable} -m {module} {' '.join(words)}"
        asked = {"command": command, "out": str(self.file("out")), "err": str(self.file("err"))}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return self._number()

    def wait(self, before: str = "DVC_STAGE=one") -> tuple[int, int]:
        """A stage that waits to be ended: the numbers of its own process and of that which runs it."""
        stage = self.begin("wait", before=before)
        assert until(lambda: bool(re.search(r"^\d+\n\Z", self.file("out").read_text(), re.MULTILINE)))  # "not forked" may come first
        return stage, int(self.file("out").read_text().split()[-1])

    def run(self, *words: str, before: str = "DVC_STAGE=one", module: str = "run") -> tuple[int, str, str]:
        """Status, output, complaints."""
        self.begin(*words, before=before, module=module)
        return self.end()

    def end(self) -> tuple[int, str, str]:
        status = self._number()
        return status, self.file("out").read_text(), self.file("err").read_text()

    def file(self, kind: str) -> Path:
        return self.folder / f"{kind}-{self.number}"

    def _number(self) -> int:
        assert self.process.stdout is not None and select.select([self.process.stdout], [], [], LIMIT)[0]
        return int(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        with suppress(BrokenPipeError):  # it was killed
            self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    """Shared, since a warm process takes seconds to start."""
    found = Owner(tmp_path_factory.mktemp("owner"))
    yield found
    found.close()


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Owner]:
    found = Owner(tmp_path)
    yield found
    found.close()


def told(done: tuple[int, str, str]) -> dict[str, Any]:
    status, out, err = done
    assert (status, err) == (0, "complaint\n"), done
    first, *others = out.splitlines()
    assert others == ["thread joined", "registered"]
    return json.loads(first)


def until(what: Callable[[], bool]) -> bool:
    limit = time.monotonic() + LIMIT
    while not what():
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True


def stat_of(process: int) -> list[str]:
    """From the third field, the state, on."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def parent_of(process: int) -> int:
    return int(stat_of(process)[1])


def gone(process: int) -> bool:
    try:
        return stat_of(process)[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_stages_are_forked_from_one_process_and_get_what_they_were_given(owner: Owner) -> None:
    first, second = (told(owner.run("tell", word, before=f"DVC_STAGE={word}")) for word in ("one", "two"))
    assert first["parent"] == second["parent"] != owner.process.pid
    assert [(each["words"], each["argv"], each["stage"]) for each in (first, second)] == [
        (["one"], ["tell", "one"], "one"),
        (["two"], ["tell", "two"], "two"),
    ]
    assert first["cwd"] == str(owner.folder) and first["torch"] and first["threads"] >= 1
    assert first["before"] == second["before"] == 0 and first["random"] != second["random"]
    assert first["quiet"] == os.environ.get("MLFLOW_LOGGING_LEVEL")  # what importing set there is not handed on


@pytest.mark.parametrize(("what", "status", "said"), [("fail", 1, "thaw: params.yaml: nothing\n"), ("break", 1, "ZeroDivisionError")])
def test_a_fork_fails_as_a_stage_does(owner: Owner, what: str, status: int, said: str) -> None:
    found, out, err = owner.run(what)
    assert (found, out) == (status, "registered\n")
    assert err == said if what == "fail" else said in err


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])  # as a crash does, and a lack of memory
def test_a_fork_that_a_signal_ends_ends_its_stage_so(owner: Owner, number: signal.Signals) -> None:
    assert owner.run("die", str(int(number)))[0] == -number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_go_on_to_the_fork_which_ends_as_the_stage_would(owner: Owner, number: signal.Signals) -> None:
    ends = []
    for before in ("DVC_STAGE=one", f"DVC_STAGE=one {SWITCH}=0"):
        stage, fork = owner.wait(before)
        assert (fork == stage) == (SWITCH in before)
        os.kill(stage, number)
        status, out, err = owner.end()
        assert gone(fork) and out.endswith("registered\n")
        ends.append((status, err.splitlines()[-1:], "asked to end" in out))
    if number == signal.SIGINT:  # Python ends by the signal, unless timm was imported, as it is before a training
        assert ends == [(1, ["KeyboardInterrupt"], False), (-number, ["KeyboardInterrupt"], False)]
    else:
        assert ends == [(128 + number, [], True)] * 2


def test_a_fork_ends_with_its_stages_process(owner: Owner) -> None:
    stage, fork = owner.wait()
    os.kill(stage, signal.SIGKILL)
    status, out, _ = owner.end()
    assert status == -signal.SIGKILL and "asked to end" not in out and until(lambda: gone(fork))


def test_a_signal_to_everybody_is_the_forks_to_answer(owner: Owner) -> None:
    """As at a shutdown: the warm process would take the fork along before it has tidied up."""
    _, fork = owner.wait()
    parent = parent_of(fork)
    os.kill(parent, signal.SIGTERM)
    time.sleep(0.3)
    assert not gone(fork)
    os.kill(fork, signal.SIGTERM)
    status, out, err = owner.end()
    assert (status, err) == (128 + signal.SIGTERM, "") and "asked to end" in out
    assert told(owner.run("tell"))["parent"] == parent


def test_a_stop_at_the_terminal_stops_the_fork_too(owner: Owner) -> None:
    stage, fork = owner.wait()
    os.kill(stage, signal.SIGTSTP)
    assert until(lambda: stat_of(stage)[0] == stat_of(fork)[0] == "T")
    os.kill(stage, signal.SIGCONT)
    assert until(lambda: stat_of(fork)[0] == "S")
    os.kill(stage, signal.SIGTERM)
    assert owner.end()[0] == 128 + signal.SIGTERM


def test_another_environment_is_another_process(owner: Owner) -> None:
    parents = {told(owner.run("tell", before=before))["parent"] for before in ("DVC_STAGE=a", "DVC_STAGE=b OTHER=1")}
    assert len(parents) == 2


def test_edited_code_or_another_library_is_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (tmp_path / "one.py").write_text("1")
    monkeypatch.setattr(warm, "PACKAGE", tmp_path)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "x"])
    monkeypatch.syspath_prepend(packages)
    first = warm._address(7)
    monkeypatch.setenv("DVC_STAGE", "another")
    assert warm._address(7) == first != warm._address(8)
    (tmp_path / "one.py").write_text("22")
    edited = warm._address(7)
    os.utime(packages, (1, 1))  # as installing something does
    assert len({first, edited, warm._address(7)}) == 3


@pytest.mark.parametrize("before", [f"DVC_STAGE=one {SWITCH}=0", "NOTHING=1"])
def test_without_dvc_or_where_it_is_turned_off_a_stage_runs_in_its_own_process(owner: Owner, before: str) -> None:
    status, out, err = owner.run("fail", before=before)
    assert (status, out.splitlines()[0], err) == (1, "not forked", "thaw: params.yaml: nothing\n")


THREAD = "import threading, time\nthreading.Thread(target=time.sleep, args=[60], daemon=True).start()\n"


@pytest.mark.parametrize("timm", ["raise ImportError('broken')", THREAD])
def test_a_process_that_cannot_import_or_begins_threads_leaves_the_stage_to_its_own(another: Owner, timm: str) -> None:
    (another.folder / "timm").mkdir()
    (another.folder / "timm/__init__.py").write_text(timm)
    (another.folder / "timm/models.py").touch()
    status, out, err = another.run("fail")
    assert (status, out.splitlines()[0], err) == (1, "not forked", "thaw: params.yaml: nothing\n")


def test_what_libraries_registered_for_the_end_is_done_in_a_fork_too(another: Owner) -> None:
    (another.folder / "timm").mkdir()
    (another.folder / "timm/__init__.py").write_text("import atexit\natexit.register(print, 'tidied up')\n")
    (another.folder / "timm/models.py").touch()
    status, out, _ = another.run("tell")
    assert status == 0 and out.splitlines()[1:] == ["thread joined", "registered", "tidied up"]
    assert json.loads(out.splitlines()[0])["parent"] != another.process.pid


def test_another_users_socket_is_not_talked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = socket.socketpair()
    with one, other:
        assert warm.same_user(one)
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        assert not warm.same_user(one)


@pytest.mark.parametrize("says", [b"", b"{", b"{}\n"])
def test_a_request_that_breaks_off_does_no_harm(owner: Owner, says: bytes) -> None:
    parent = told(owner.run("tell"))["parent"]
    links = (str(path.readlink()) for path in Path(f"/proc/{parent}/fd").iterdir())
    sockets = {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:[")}
    (address,) = {words[-1] for line in Path("/proc/net/unix").read_text().splitlines() if (words := line.split())[6] in sockets}
    with socket.socket(socket.AF_UNIX) as line:
        line.connect("\0" + address.removeprefix("@"))
        line.sendall(says)
    assert told(owner.run("tell"))["parent"] == parent


def test_who_is_not_dvc_gets_no_fork(tmp_path: Path) -> None:
    found = Owner(tmp_path, "make.py")
    status, out, _ = found.run("fail")
    found.close()
    assert (status, out.splitlines()[0]) == (1, "not forked")


def test_a_killed_warm_process_takes_its_forks_with_it_and_says_so(another: Owner) -> None:
    _, fork = another.wait()
    os.kill(parent := parent_of(fork), signal.SIGKILL)
    status, _, err = another.end()
    assert status == 1 and "was killed" in err and until(lambda: gone(fork))
    assert told(another.run("tell"))["parent"] != parent


def test_the_warm_process_ends_with_dvc_and_not_before_the_last_fork(another: Owner) -> None:
    _, fork = another.wait()
    parent = parent_of(fork)
    another.process.kill()
    another.process.wait()
    time.sleep(0.3)
    assert not gone(parent) and not gone(fork)
    os.kill(fork, signal.SIGTERM)
    assert until(lambda: gone(fork) and gone(parent))


def test_forked_stages_import_nothing_that_takes_long_before_their_main() -> None:
    program = "import sys\nimport {}\nprint(sorted({{'torch', 'numpy', 'pandas', 'timm', 'mlflow'}} & set(sys.modules)))"
    for name in FORKED:
        done = subprocess.run([sys.executable, "-c", program.format(name)], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n", name


def test_a_stage_asks_for_a_fork_under_its_own_name(another: Owner) -> None:
    assert {name.rpartition(".")[2] for name in FORKED} <= {file.stem for file in Path(stages.__path__[0]).glob("*.py")}
    asked = [another.run("lite0", before="DVC_STAGE=x", module="thaw.stages.finetune") for _ in range(2)]
    assert asked == [(1, "", "thaw: finetune: takes BACKBONE STRATEGY FOLD, got lite0\n")] * 2
    assert len(warm_processes_of(another.process.pid)) == 1


def warm_processes_of(owner: int) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            found += [path.parent.name] if "thaw.warm_process" in words and str(owner) in words else []
    return found


def test_a_stage_called_by_another_program_is_no_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thaw.startup.forked", lambda *_: pytest.fail("asked for a fork"))
    done: list[str] = []
    run_stage(done.append, "here")
    assert done == ["here"]
