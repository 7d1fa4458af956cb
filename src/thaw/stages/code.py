"""code: src/thaw -> data/code/<stage>.txt, the source files that a stage is made of. An edit runs the stages whose list it changes."""

from pathlib import Path

from thaw.checksums import LISTS, checksums, listed_stages
from thaw.files import write_text
from thaw.installed import check_code
from thaw.startup import run_stage


def main() -> None:
    check_code(Path.cwd())
    for stage in listed_stages():
        write_text(LISTS / f"{stage}.txt", checksums(stage))


if __name__ == "__main__":
    run_stage(main)
