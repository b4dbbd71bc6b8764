"""Runs evaluations in parallel processes, and only those without a result."""

import collections
import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import threading

from experiments import methods
from experiments.protocol import evaluation, streams
from jitnet_tf.base import files
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.interrupt import StopRequest, blocked_in_children
from jitnet_tf.base.progress import progress_bar

RESULT = "result.json"
MASKS = "masks"
# What this module and the tables rely on in a result: name → its type, or of each of its values.
NUMBER = (int, float)
GREATEST = 1e15  # beyond any count or time
FIGURE = (int, float, type(None))
REQUIRED = {
    "stream": {"name": str, "category": str, "classes": list},
    "settings": {},
    "summary": {
        **{"frames": int, "teacher_frames": int, "updates": int, "seconds": dict},
        **{"teacher_fraction": NUMBER, "mean_iou": FIGURE, "mean_iou_student_only": FIGURE},
        **{"speedup": FIGURE, "teacher_seconds_per_frame": FIGURE, "teacher_mode": str},
    },
    "flicker": {"prediction": FIGURE, "teacher": FIGURE},
    "recorded": {"recorded_teacher": (str, type(None))},
    "machine": {"cpu": str, "cores": int, "gpus": list},
    "versions": {},
}
POLL_SECONDS = 0.5  # between two checks of the workers
_worker = {}  # in a worker process: "stop", an Event, and "steps", a counter, both shared


class _StoppedError(Exception):
    """The user asked to stop."""


def folder(results, stream, method):
    """Returns the folder of a method's result on a stream, and of its masks."""
    return pathlib.Path(results, stream, method)


def load(path):
    """Reads a result.json; UserError if it is unreadable or incomplete."""
    try:
        result = files.parse_json(pathlib.Path(path).read_bytes())
        _check(result)
        methods.named(result.get("method"))
        return result
    except (OSError, ValueError, AttributeError, TypeError, LookupError, UserError) as error:
        raise UserError(
            f"{str(path)!r} is not a result ({error}): delete it to have it made again"
        ) from None


def _check(result):
    """Raises ValueError unless a result has all that is REQUIRED, of these types."""
    for part, types in REQUIRED.items():
        if not isinstance(result.get(part), dict):
            raise ValueError(f"no {part}")
        for name, kind in types.items():
            value = result[part].get(name, _check)  # which is of no type
            if not isinstance(value, kind) or not _is_plausible(value):
                raise ValueError(f"invalid {part}: {name}")
    if not result["summary"]["frames"]:
        raise ValueError("no frames")
    texts = (*result["stream"]["classes"], *result["machine"]["gpus"])
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("invalid stream or machine")
    seconds = result["summary"]["seconds"].values()
    if not all(isinstance(value, NUMBER) and _is_plausible(value) for value in seconds):
        raise ValueError("invalid seconds")
    if "jobs" not in result:
        raise ValueError("no jobs")


def _is_plausible(value):
    return not isinstance(value, NUMBER) or 0 <= value < GREATEST


def still_to_do(work, results, settings):
    """Returns the pairs (stream, method) of `work` without a result.

    settings: {name: value}; see `methods.settings_of`.

    Raises:
      UserError: a result has other settings, or is of another stream of that name.
    """
    open_pairs = []
    for stream, method in work:
        path = folder(results, stream.name, method) / RESULT
        if not path.exists():
            open_pairs.append((stream, method))
            continue
        found = load(path)
        wanted = {
            **methods.settings_of(method, settings),
            "classes": list(stream.classes),
            "max_frames": stream.max_frames,
            **streams.recorded(stream),
        }
        have = {**found["stream"], **found["settings"], **found["recorded"]}
        different = [name for name in wanted if have.get(name) != wanted[name]]
        if different:
            raise UserError(
                f"{path} was made with another {different[0]}: take another --results, or delete it"
            )
    return open_pairs


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def _prepare(threads, stop, steps):
    """Sets up a worker process."""
    # A killed parent cannot shut down its pool: without this thread the workers would hang.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import cv2

    from jitnet_tf.base import command_line
    from teacher.process import share_gpus

    share_gpus()
    # TensorFlow's own functions come too late: import_tensorflow() initializes its devices.
    os.environ.update({f"TF_NUM_{kind}OP_THREADS": f"{threads}" for kind in ("INTRA", "INTER")})
    command_line.import_tensorflow()
    cv2.setNumThreads(threads)
    _worker.update(stop=stop, steps=steps)


def _work(stream, frames, method, settings, results, jobs, evaluate):
    """Evaluates one pair in a worker process. Returns False if stopped before its end."""
    if _worker["stop"].is_set():
        return False
    import tensorflow as tf

    def on_step():
        with _worker["steps"].get_lock():
            _worker["steps"].value += 1
        if _worker["stop"].is_set():
            raise _StoppedError

    place = folder(results, stream.name, method)
    try:
        result = evaluate(stream, frames, method, settings, place / MASKS, on_step)
    except _StoppedError:
        return False
    except (tf.errors.OpError, MemoryError) as error:
        raise UserError(f"TensorFlow stopped ({error})") from error
    files.write_text(place / RESULT, json.dumps({**result, "jobs": jobs}) + "\n")
    return True


def run(pairs, settings, results, jobs, evaluate=evaluation.evaluate):
    """Evaluates pairs (stream, frames, method) in `jobs` processes, showing progress.

    After Ctrl-C it returns early: complete results are kept, the next call makes the others.
    settings: {name: value}, for all methods.
    evaluate: `evaluation.evaluate`, or a module's function that calls it and extends its result.

    Returns:
      True if all pairs were evaluated.

    Raises:
      UserError: some failed; the others are complete.
    """
    context = multiprocessing.get_context("spawn")
    stop, steps = context.Event(), context.Value("l", 0)
    total = sum(frames + _preparation(settings, method, frames) for _, frames, method in pairs)
    threads = max(os.cpu_count() // jobs, 1)
    queue, running = collections.deque(pairs), {}
    errors, bugs, finished = [], [], 0

    def open_pool():
        return concurrent.futures.ProcessPoolExecutor(
            jobs, context, _prepare, (threads, stop, steps)
        )

    pool, is_broken = open_pool(), False
    with (
        StopRequest() as request,
        progress_bar(total=total, unit="frame") as progress,
    ):
        try:
            while queue or running:
                if request.made:
                    stop.set()
                    queue.clear()
                if is_broken and not running:  # every job of this pool has ended
                    pool.shutdown()
                    pool, is_broken = open_pool(), False
                while queue and len(running) < jobs and not is_broken:
                    pair = queue.popleft()
                    running[_submit(pool, *pair, settings, results, jobs, evaluate)] = pair
                done, _ = concurrent.futures.wait(
                    running, POLL_SECONDS, concurrent.futures.FIRST_COMPLETED
                )
                for future in done:
                    stream, _, method = running.pop(future)
                    try:
                        finished += future.result()
                    except (UserError, OSError) as error:
                        errors.append(f"{stream.name} {method}: {error}")
                    except concurrent.futures.BrokenExecutor:
                        errors.append(f"{stream.name} {method}: its process was killed (memory?)")
                        is_broken = True
                    except Exception as error:  # raised below, after the others are complete
                        bugs.append(error)
                progress.set_postfix_str(f"{finished} of {len(pairs)} done", refresh=False)
                progress.update(steps.value - progress.n)
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    if bugs:
        raise bugs[0]
    if errors:
        raise UserError(
            f"{len(errors)} of {len(pairs)} evaluations failed, the first: {errors[0]}; the same "
            "command runs them again"
        )
    return finished == len(pairs)


def _preparation(settings, method, frames):
    method = methods.named(method)
    return method.preparation(method.take(settings), frames)


def _submit(pool, *arguments):
    """Submits a pair to a pool; a worker process that starts here ignores the signals."""
    with blocked_in_children():
        return pool.submit(_work, *arguments)
