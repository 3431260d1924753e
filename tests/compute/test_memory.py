"""What a process keeps of its memory."""

import gc
import os
import subprocess
import sys

import pytest

from gonogo.compute.memory import without_garbage_collection

PROGRAM = """
import resource, sys
import numpy as np
from gonogo.compute.memory import keep_freed_memory

if sys.argv[1] == "keeps":
    keep_freed_memory()
np.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(10_000_000)  # 80 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def is_glibc() -> bool:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") is not None
    except (AttributeError, ValueError, OSError):
        return False


@pytest.mark.skipif(not is_glibc(), reason="only glibc can be told to keep what is freed")
def test_a_process_that_keeps_what_it_frees_asks_the_system_for_no_page_again():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}

    def pages(mode):
        command = [sys.executable, "-c", PROGRAM, mode]
        return int(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)

    assert pages("keeps") < 50
    assert pages("plain") > 150  # of huge ones, where the system has them; of small ones it is a hundred thousand


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_looked_for_again_also_after_an_error_and_only_where_it_was_before(enabled):
    (gc.enable if enabled else gc.disable)()
    try:
        with without_garbage_collection():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
        with pytest.raises(ZeroDivisionError), without_garbage_collection():
            1 / 0  # noqa: B018
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
