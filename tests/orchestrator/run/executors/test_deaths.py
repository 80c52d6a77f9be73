"""What a row says of a worker whose process has ended: what is known, and nothing of a memory that did not run out."""

from __future__ import annotations

import pytest
from ray.exceptions import RayError

from landsweep.orchestrator.run.executors.ray.deaths import death_in_words, kernel_kills

# Ray 2.60, of a unit that calls os._exit(3)
RAY = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: Actor\n\tactor_id: 706a7384d0db22b2\n\t"
    "pid: 7123\n\tnamespace: e57fed1c\n\tip: 127.0.0.1\nThe actor is dead because its worker process has died. Worker "
    "exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection error code 2. "
)
HINTS = [
    "Some common causes include: (1) the process was killed by the OOM killer due to high memory usage, (2) ...",
    "There are some potential root causes. (1) The process is killed by SIGKILL by OOM killer due to high memory.",
]


@pytest.mark.parametrize("hint", HINTS)
def test_a_process_that_ended_without_a_word_is_no_lack_of_memory(hint: str) -> None:
    assert death_in_words(RayError(RAY + hint)) == (
        "the worker's process (pid 7123 on 127.0.0.1) ended without a word, as by os._exit, a crash in native code or "
        "a signal. There is no sign that memory ran out"
    )


def test_signs_are_named() -> None:
    text = death_in_words(RayError(f"{RAY}It has exit code 3. {HINTS[0]}"), kills=2)
    assert "(pid 7123 on 127.0.0.1) ended with exit code 3 and without a word" in text
    assert text.endswith("The kernel has ended 2 processes of this machine for want of memory since the run began")
    elsewhere = death_in_words(RayError(RAY.replace("127.0.0.1", "10.0.0.7") + HINTS[0]), kills=2)
    assert elsewhere.endswith("no sign that memory ran out"), "the kernel of another machine is not asked"
    assert kernel_kills() >= 0


def test_what_ray_knows_stays() -> None:
    text = "The actor died because its node has died. Node Id: 1234"
    assert death_in_words(RayError(text)) == text
