from __future__ import annotations

import os
import threading

import pytest

from refinedet.inference.read_ahead import helper_threads, read_ahead


def always(item):
    return True


def test_results_come_in_order_and_errors_where_they_belong():
    def read(item):
        if item == 2:
            raise OSError("two")
        return item * 10

    found = []
    for item, result in read_ahead(range(5), read, 2, always):
        try:
            found.append((item, result()))
        except OSError as error:
            found.append((item, str(error)))
    assert found == [(0, 0), (1, 10), (2, "two"), (3, 30), (4, 40)]


def test_reading_goes_on_while_the_caller_works():
    read_third = threading.Event()

    def read(item):
        if item == 2:
            read_third.set()
        return item

    ahead = read_ahead(range(10), read, 2, always)
    item, result = next(ahead)
    assert item == 0 and result() == 0
    assert read_third.wait(30), "nothing is read ahead"
    ahead.close()


def test_no_more_than_asked_for_is_taken_ahead():
    taken = []

    def items():
        for i in range(10):
            taken.append(i)
            yield i

    ahead = read_ahead(items(), lambda item: item, 3, always)
    next(ahead)
    assert taken == [0, 1, 2, 3]
    ahead.close()


def test_what_is_at_hand_does_not_wait_for_more():
    taken = []

    def items():
        for i in range(4):
            taken.append(i)
            yield i

    ahead = read_ahead(items(), lambda item: item, 3, lambda item: False)
    assert [(item, result(), list(taken)) for item, result in ahead] == [(i, i, list(range(i + 1))) for i in range(4)]


def test_the_thread_ends_with_the_caller():
    before = threading.active_count()
    ahead = read_ahead(range(100), lambda item: item, 4, always)
    next(ahead)
    assert threading.active_count() > before
    ahead.close()
    assert threading.active_count() == before


def test_an_error_of_the_items_is_the_callers():
    def items():
        yield 1
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        list(read_ahead(items(), lambda item: item, 4, always))


@pytest.mark.parametrize(("cores", "threads"), [(None, 1), (1, 1), (3, 2), (64, 4)])
def test_threads_where_the_system_does_not_tell_which_cores_are_ours(monkeypatch, cores, threads):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert helper_threads() == threads
