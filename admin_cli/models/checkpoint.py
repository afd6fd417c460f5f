"""Convert a pickled PyTorch module to safetensors in a process that can do nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from admin_cli.console import CliError

_READER = Path(__file__).with_name("checkpoint_reader.py")
_SECONDS = 120


def convert(checkpoint: Path, target: Path) -> None:
    """Write the tensors of `checkpoint` to `target`, named as in the module's state dict.

    The child has an empty environment, its own two files and nothing else: it cannot open a file
    or a socket, start a process, or take more than 2 GiB and a minute of CPU. Raises CliError with
    the reason when the checkpoint is refused; `target` is then gone.
    """
    command = [sys.executable, "-I", "-S", "-B", str(_READER)]
    try:
        with checkpoint.open("rb") as source, target.open("xb") as sink:
            done = subprocess.run(  # noqa: S603 - our own program, no shell
                command,
                stdin=source,
                stdout=sink,
                stderr=subprocess.PIPE,
                env={},
                cwd="/",
                timeout=_SECONDS,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        target.unlink(missing_ok=True)
        raise CliError("the checkpoint is refused: reading it takes too long") from error
    if done.returncode != 0:
        target.unlink(missing_ok=True)
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"reading it ended with status {done.returncode}"
        raise CliError(f"the checkpoint is refused: {reason}")
