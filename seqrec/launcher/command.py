"""A command of a scheduler, to show or to run, and the folder launch/ that it uses."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import seqrec
from seqrec.errors import LaunchError

_PACKAGE = Path(seqrec.__file__).parent
# inside the package where it was installed from a wheel, beside it in a clone
FILES = next(folder for folder in (_PACKAGE / "launch", _PACKAGE.parent / "launch") if folder.is_dir())


@dataclass(frozen=True)
class Command:
    """What a launcher runs.

    Attributes:
        words: the command.
        script: the file of launch/ that it starts, shown with it.
        text: what it reads from standard input.
    """

    words: list[str]
    script: Path | None = None
    text: str | None = None

    def show(self) -> str:
        """Exactly what would run, as it could be pasted into a shell; below it the script."""
        line = shlex.join(self.words)
        if self.text is not None:
            return f"{line} <<'END'\n{self.text}END\n"
        below = f"\n# {self.script}:\n{self.script.read_text()}" if self.script else ""
        return f"{line}\n{below}"

    def run(self) -> int:
        """Runs it to its end and gives its exit status.

        Raises:
            LaunchError: there is no such command here.
        """
        try:
            return subprocess.run(self.words, check=False, input=self.text, text=True).returncode
        except FileNotFoundError as error:
            raise LaunchError(
                f"no command `{self.words[0]}` on this machine",
                do="start it where there is one; `--dry-run` shows what would run",
            ) from error
