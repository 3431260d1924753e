"""A process in another Python environment that answers arrays with arrays, over its standard input and output.

A message is `MAGIC`, its length in 8 bytes, and named arrays as numpy's .npz, written and read without pickle.
"""

import io
import os
import struct
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np

from gonogo.errors import GonogoError, WorkerError

MAGIC = b"gonogo:1"
LAST_CHARACTERS = 1500  # of the process's stderr, which a message repeats
SECONDS_TO_END = 5.0  # that a process has after its input was closed


def send(stream: IO[bytes], **arrays: np.ndarray) -> None:
    """Write one message."""
    body = io.BytesIO()
    np.savez(body, **arrays)  # type: ignore[arg-type]  # its own keyword allow_pickle is not among the names
    stream.write(MAGIC + struct.pack(">Q", body.tell()))
    stream.write(body.getbuffer())
    stream.flush()


def receive(stream: IO[bytes]) -> dict[str, np.ndarray]:
    """Read one message.

    Raises:
        EOFError: the stream ended.
        ValueError: something else than a message came.
    """
    head = stream.read(len(MAGIC) + 8)
    if not MAGIC.startswith(head[: len(MAGIC)]):
        raise ValueError(f"expected a message, got {head!r}")
    if len(head) < len(MAGIC) + 8:
        raise EOFError
    (length,) = struct.unpack(">Q", head[len(MAGIC) :])
    body = stream.read(length)
    if len(body) < length:
        raise EOFError
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        return dict(arrays)


class Worker:
    """A script, run by an interpreter of its own until it is closed, garbage, or this process ends."""

    def __init__(self, python: str, script: Path, arguments: Sequence[str], *, threads: int, timeout: float) -> None:
        """Start it. It sees neither PYTHON* variables nor user packages, and reaches no model hub.

        Args:
            threads: that it may compute with; it works while this process waits.
            timeout: seconds that one answer may take.

        Raises:
            WorkerError: the interpreter cannot be run.
        """
        self.name = f"{python} {script.name}"
        self.timeout = timeout
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  a file, not a pipe: nobody reads it meanwhile
        count = str(threads)
        environment = os.environ | {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "HF_HUB_OFFLINE": "1"}
        try:
            self._process = subprocess.Popen(
                [python, "-I", str(script), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=environment,
            )
        except OSError as error:
            raise WorkerError(f"{python} cannot be run: {error}") from error
        self.close = weakref.finalize(self, _end, self._process)

    def ask(self, refusal: type[GonogoError], **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """The answer to `arrays`.

        Raises:
            GonogoError: of the type `refusal`; the worker answered that it cannot, and why.
            WorkerError: it ended, took longer than `timeout`, or sent something else. The process is ended then.
        """
        process, late = self._process, threading.Event()
        assert process.stdin is not None
        assert process.stdout is not None

        def stop() -> None:  # refers to the process alone, so that this object can be collected
            late.set()
            process.kill()

        timer = threading.Timer(self.timeout, stop)
        timer.start()
        try:
            send(process.stdin, **arrays)
            answer = receive(process.stdout)
        except (EOFError, OSError, ValueError) as error:
            self.close()
            reason = f"took longer than {self.timeout:g} s" if late.is_set() else str(error)
            raise WorkerError(self._failure(reason or "ended without an answer")) from error
        except BaseException:  # an interrupt between question and answer: the next answer would be to this question
            self.close()
            raise
        finally:
            timer.cancel()
        if "error" in answer:
            raise refusal(str(answer["error"]))
        return answer

    def _failure(self, reason: str) -> str:
        self._stderr.seek(0)
        last = self._stderr.read().decode(errors="replace").strip()[-LAST_CHARACTERS:]
        return f"{self.name}: {reason}; status {self._process.returncode}; the end of its output: {last or 'none'}"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the process to end, and kill it if it does not."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):
        process.stdin.close()
    process.stdout.close()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
