"""The measure of a run's progress bar: frames, or seconds of video."""

# Seconds with a decimal; tqdm's own format shows fractions in full.
_SECONDS = "{percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s [{elapsed}<{remaining}{postfix}]"


def by_time(source, max_frames):
    """Returns whether progress is better told by time: frames not counted, or not equally long.

    source: a FrameSource; max_frames: as in RunConfig.
    """
    uncounted = source.announced_frames is None or not source.constant_rate
    return bool(source.announced_seconds and uncounted and not max_frames)


def bar_options(source, max_frames, statistics):
    """Returns the options of a progress bar, a tqdm. statistics: of the frames so far."""
    if by_time(source, max_frames):
        initial = min(statistics.video_seconds or 0.0, source.announced_seconds)
        return {"total": source.announced_seconds, "initial": initial, "bar_format": _SECONDS}
    total = min(filter(None, (source.announced_frames, max_frames)), default=None)
    return {"total": total, "initial": statistics.frames, "unit": "frame"}


def step(bar, source, max_frames, result):
    """Returns how far a FrameResult takes the bar."""
    if not by_time(source, max_frames):
        return 1
    return max(0.0, min(result.time + result.duration, bar.total) - bar.n)
