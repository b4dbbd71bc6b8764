"""Timing in turns: steps run round by round, so that other load of the machine hits all alike."""

import time


class StepError(Exception):
    """A step cannot be timed any more."""


def take_turns(steps, rounds):
    """Times steps, each once a round.

    Args:
      steps: key → function that runs the step and returns its milliseconds; it may raise StepError.
      rounds: number of rounds.

    Returns:
      (key → milliseconds of each round, key → StepError of those that failed).
    """
    # `milliseconds` alone, on a machine with a GPU, needs none.
    from jitnet_tf.base.progress import progress_bar

    times, failed = {key: [] for key in steps}, {}
    with progress_bar(total=rounds * len(steps), desc="timing", unit="step") as progress:
        for _ in range(rounds):
            for key in [key for key in steps if key not in failed]:
                try:
                    times[key].append(steps[key]())
                except StepError as error:
                    failed[key] = error
                progress.update()
    return {key: each for key, each in times.items() if key not in failed}, failed


def milliseconds(function):
    """Calls a function; returns the milliseconds it took."""
    start = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - start)
