"""Prefetching and worker threads: order, bounds, errors."""

import threading

import pytest

from jitnet_tf.base.threads import DEPTH, Worker, prefetch


def counting(taken, end):
    """Yields 0, 1, …, records each in `taken`, and fails after `end`."""
    for i in range(end):
        taken.append(i)
        yield i
    raise OSError("gone")


def test_prefetch_yields_all_in_order_and_then_raises():
    items = prefetch(counting([], 10))
    assert [next(items) for _ in range(10)] == list(range(10))
    with pytest.raises(OSError, match="gone"):
        next(items)


def test_prefetch_ends_with_its_iterator():
    assert list(prefetch(iter(range(3)))) == [0, 1, 2]
    assert list(prefetch(iter([]))) == []


def test_prefetch_takes_at_most_its_depth_ahead_in_one_other_thread():
    taken, threads = [], set()

    def noting():
        for i in counting(taken, 100):
            threads.add(threading.get_ident())
            yield i

    items = prefetch(noting())
    assert taken == []  # not before it is asked
    for i in range(20):
        assert next(items) == i
        assert len(taken) <= i + 1 + DEPTH
    items.close()
    assert len(taken) <= 20 + DEPTH
    assert threading.get_ident() not in threads


def test_closing_waits_for_the_item_being_taken():
    begun, let_go, ended = threading.Event(), threading.Event(), []

    def slow():
        yield 0
        begun.set()
        let_go.wait(10)
        ended.append(True)
        yield 1

    items = prefetch(slow())
    next(items)
    assert begun.wait(10)
    threading.Timer(0.05, let_go.set).start()
    items.close()
    assert ended == [True]


def test_worker_works_in_order_in_one_other_thread():
    done, threads = [], set()

    def work(item):
        threads.add(threading.get_ident())
        done.append(item)

    worker = Worker(work)
    for i in range(50):
        worker(i)
    worker.wait()
    assert done == list(range(50))
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    worker.close()


def test_worker_holds_at_most_its_depth():
    let_go, handed_over = threading.Event(), []
    worker = Worker(lambda item: let_go.wait(10))

    def hand_over():
        for i in range(DEPTH + 3):
            worker(i)
            handed_over.append(i)

    thread = threading.Thread(target=hand_over)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert len(handed_over) == DEPTH  # the next call waits for the first item
    let_go.set()
    thread.join(10)
    assert len(handed_over) == DEPTH + 3
    worker.close()


def test_an_exception_reaches_the_caller_and_ends_the_work():
    done = []

    def work(item):
        if item == 2:
            raise OSError("disk full")
        done.append(item)

    worker = Worker(work)
    for i in range(3):
        worker(i)
    for _ in range(2):
        with pytest.raises(OSError, match="disk full"):
            worker.wait()
        with pytest.raises(OSError, match="disk full"):
            worker(3)
    worker.close()
    assert done == [0, 1]


def test_worker_finishes_its_items_when_closed():
    done, begin = [], threading.Event()

    def work(item):
        begin.wait(10)
        done.append(item)

    worker = Worker(work)
    for i in range(DEPTH):
        worker(i)
    begin.set()
    worker.close()
    assert done == list(range(DEPTH))
