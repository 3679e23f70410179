"""Locks over a fork: taken in their order, and never left to a thread that the child does not have."""

from __future__ import annotations

import os

import pytest

from .support.stores import run_code

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")

BEGIN = """
import os, threading, warnings
from chatglm_magic.forks import LockOrder, fork_safe_lock
warnings.simplefilter("ignore", DeprecationWarning)
first, last = fork_safe_lock(LockOrder.SESSION), fork_safe_lock(LockOrder.STORE)
begun, held, over = threading.Event(), threading.Event(), threading.Event()
os.register_at_fork(before=begun.set)

def fork(act):
    child = os.fork()
    if child == 0:
        os._exit(act())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def is_free(lock):
    found = lock.acquire(blocking=False)
    if found:
        lock.release()
    return found
"""

ORDER = """
def work():
    with first:
        held.set()
        begun.wait(10)
        over.wait(0.2)  # the fork is waiting by now
        taken.append(last.acquire(timeout=1))
        if taken[0]:
            last.release()

taken = []
thread = threading.Thread(target=work)
thread.start()
held.wait(10)
code = fork(lambda: 0 if is_free(first) and is_free(last) else 1)
thread.join()
print(taken, code, is_free(first), is_free(last))
"""

FOREVER = """
def work():
    with first:
        held.set()
        over.wait(60)

thread = threading.Thread(target=work)
thread.start()
held.wait(10)
code = fork(lambda: 0 if is_free(first) and is_free(last) else 1)
print(code, is_free(first), is_free(last))
over.set()
thread.join()
print(is_free(first))
"""


def test_a_fork_takes_the_locks_in_the_order_in_which_questions_do() -> None:
    """A thread that has the first one gets the last one too: neither waits for the other."""
    assert run_code(BEGIN + ORDER) == "[True] 0 True True\n"


def test_a_child_has_every_lock_free_also_one_that_was_never_let_go() -> None:
    """The fork waits for it a while; the child has it anew, and the parent's thread keeps it."""
    assert run_code(BEGIN + FOREVER) == "0 False True\nTrue\n"


FIRST_USE = """
import signal, sys
from chatglm_magic import ChatGLM

class Held:
    def find_spec(self, name, path=None, target=None):
        if name == "langchain_core.tracers.context":
            held.set()
            begun.wait(10)
            over.wait(0.5)  # a fork that does not wait has been by now
        return None

def ask():
    signal.alarm(20)  # a child that waits for a thread it has not got ends by that
    try:
        list(llm.stream("q"))
    except ValueError:  # nobody listens there
        return 0
    return 1

sys.meta_path.insert(0, Held())
llm = ChatGLM(endpoint_url="http://127.0.0.1:1/", max_retries=0)
thread = threading.Thread(target=ask)
thread.start()
held.wait(10)
code = fork(ask)
thread.join()
print(code)
"""


def test_a_fork_waits_for_the_late_imports_of_another_thread() -> None:
    """A child that is forked while another thread's first request imports modules can ask."""
    assert run_code(BEGIN + FIRST_USE) == "0\n"
