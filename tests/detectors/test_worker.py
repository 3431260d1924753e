"""A process of another environment: its answers arrive whole, its failures in one sentence, and nothing of it stays."""

import gc
import io
import sys
from pathlib import Path

import numpy as np
import pytest

from gonogo.detectors.anomalib.worker import MAGIC, Worker, receive, send
from gonogo.errors import ExportError, WorkerError

# What every script of these tests begins with. It sees no PYTHON* variable, so it is told where gonogo is.
OPENING = f"""
import os, sys, time
sys.path.insert(0, {str(Path(__file__).resolve().parents[2] / "src")!r})
import numpy as np
from gonogo.detectors.anomalib.worker import receive, send
"""


@pytest.fixture
def started(tmp_path):
    """Starts a worker whose script is OPENING and the given lines."""

    def start(lines: str, *arguments: str, timeout: float = 60.0) -> Worker:
        script = tmp_path / "script.py"
        script.write_text(OPENING + lines)
        return Worker(sys.executable, script, arguments, threads=3, timeout=timeout)

    return start


ECHO = """
while True:
    try:
        asked = receive(sys.stdin.buffer)
    except EOFError:
        break
    send(sys.stdout.buffer, pid=np.array(os.getpid()), threads=np.array(os.environ["OMP_NUM_THREADS"]), **asked)
"""


def test_arrays_arrive_bit_for_bit_and_text_as_text():
    pixels = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    stream = io.BytesIO()
    send(stream, pixels=pixels, said=np.array("größer"))
    stream.seek(0)
    arrived = receive(stream)
    np.testing.assert_array_equal(arrived["pixels"], pixels)
    assert arrived["pixels"].dtype == np.float32
    assert str(arrived["said"]) == "größer"
    with pytest.raises(EOFError):
        receive(stream)


def test_what_is_not_a_message_is_refused_and_nothing_is_unpickled():
    with pytest.raises(ValueError, match="expected a message, got b'Traceback"):
        receive(io.BytesIO(b"Traceback (most recent call last)"))
    for cut in (3, len(MAGIC) + 4, len(MAGIC) + 12):
        stream = io.BytesIO()
        send(stream, a=np.zeros(4))
        with pytest.raises(EOFError):
            receive(io.BytesIO(stream.getvalue()[:cut]))
    stream = io.BytesIO()
    send(stream, a=np.array([{"an": "object"}], dtype=object))
    stream.seek(0)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        receive(stream)


def test_a_worker_answers_again_and_again_with_the_threads_it_was_given(started):
    worker = started(ECHO)
    for number in range(3):
        answer = worker.ask(WorkerError, x=np.full((2, 3), number))
        np.testing.assert_array_equal(answer["x"], np.full((2, 3), number))
    assert str(answer["threads"]) == "3"


def test_a_large_question_and_answer_do_not_block_each_other(started):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 256, 256), dtype=np.uint8)
    lines = "sys.stderr.write('x' * 300_000)\n" + ECHO
    np.testing.assert_array_equal(started(lines).ask(WorkerError, x=pixels)["x"], pixels)


def test_a_refusal_becomes_the_error_that_the_asker_names(started):
    worker = started("while receive(sys.stdin.buffer): send(sys.stdout.buffer, error=np.array('no such operator'))")
    with pytest.raises(ExportError, match="no such operator"):
        worker.ask(ExportError, x=np.zeros(1))
    with pytest.raises(WorkerError, match="no such operator"):
        worker.ask(WorkerError, x=np.zeros(1))


def test_a_crash_is_told_with_the_processes_last_words(started):
    worker = started("receive(sys.stdin.buffer); raise SystemExit('the disk is full')")
    with pytest.raises(WorkerError, match=r"script\.py: ended without an answer; status 1; .*the disk is full"):
        worker.ask(WorkerError, x=np.zeros(1))
    with pytest.raises(WorkerError, match="the disk is full"):
        worker.ask(WorkerError, x=np.zeros(1))


def test_a_process_that_ends_before_the_question_is_told_too(started):
    worker = started("raise ModuleNotFoundError('No module named anomalib')")
    with pytest.raises(WorkerError, match="No module named anomalib"):
        worker.ask(WorkerError, x=np.zeros(1_000_000))


def test_a_process_that_prints_among_its_answers_is_refused(started):
    with pytest.raises(WorkerError, match="expected a message, got b'loading the"):
        started("print('loading the model ...', flush=True)\n" + ECHO).ask(WorkerError, x=np.zeros(1))


def test_a_process_that_takes_too_long_is_stopped(started):
    worker = started("time.sleep(3600)", timeout=1.0)
    with pytest.raises(WorkerError, match="took longer than 1 s"):
        worker.ask(WorkerError, x=np.zeros(1))


def test_an_interpreter_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WorkerError, match="nowhere/python cannot be run"):
        Worker(str(tmp_path / "nowhere" / "python"), tmp_path / "script.py", [], threads=1, timeout=1.0)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at the processes of Linux")
@pytest.mark.parametrize("closed", [True, False])
def test_no_process_is_left_when_a_worker_is_closed_or_forgotten(started, closed):
    worker = started(ECHO)
    process = Path(f"/proc/{worker.ask(WorkerError)['pid']}")
    assert process.exists()
    if closed:
        worker.close()
        assert not process.exists()
    del worker
    gc.collect()
    assert not process.exists()
