"""Parts of the commands that evaluate methods on streams: flags, results, tables with plots."""

import pathlib
import sys

from absl import flags

from experiments import methods
from experiments.protocol import jobs, streams
from experiments.protocol.evaluation import evaluate as evaluate_method
from experiments.reports import figures
from experiments.reports.results import Results
from jitnet_tf.base import command_line, files, locks
from jitnet_tf.base.errors import UserError
from jitnet_tf.base.paths import define_path

FLAGS = flags.FLAGS


def define_flags(stream_list=None):
    """Defines the flags of all these commands; stream_list: the default of --streams."""
    define_path("streams", stream_list, "Stream list, a CSV file; see experiments.streams.")
    define_path("videos", None, "Folder of the videos. Default: as in the list.")
    define_path("recordings", None, "Folder of the recordings. Default: as in the list.")
    define_path("results", None, "Folder for the results.")
    flags.DEFINE_list("only", [], "Names of methods and streams to evaluate. Default: all.")
    flags.DEFINE_integer("jobs", 1, "Number of evaluations to run at the same time.", lower_bound=1)
    define_path("print", None, "Folder of results to print, without evaluating.")


def define_plot_flag(name):
    """Defines --plot; name: of the plot's file by default, without suffix."""
    define_path("plot", None, f"PNG file of the plot. Default: RESULTS/{name}.png.")


def show_tables(report, listed, name):
    """Prints a report of all results on listed streams, and writes it to --results.

    report: `results.Results` → text. listed: Streams. name: of the file.
    """
    text = report(Results.load(FLAGS.results, {stream.name for stream in listed}))
    table = pathlib.Path(FLAGS.results, name)
    files.write_text(table, text + "\n")
    print(text)
    print(f"\n{table}: the tables above")


def check_plot():
    """Raises UserError if --plot cannot be a PNG."""
    if FLAGS.plot:
        figures.check_output(FLAGS.plot, "plot")


def show(text, draw, name):
    """Prints a table and draws its plot to --plot; without --print, writes both to --results.

    draw: () → matplotlib figure. name: of both files, without suffix.
    """
    print(text)
    plot = FLAGS.plot
    if not FLAGS.print:
        files.write_text(pathlib.Path(FLAGS.results, f"{name}.md"), f"{text}\n")
        plot = plot or pathlib.Path(FLAGS.results, f"{name}.png")
    if plot:
        figures.save(draw(), plot, "plot")


def listed_streams():
    """Returns the Streams of --streams. Raises UserError if it is invalid, or --results missing."""
    for name in ("streams", "results"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing; --help lists the flags")
    return streams.read_list(FLAGS.streams, FLAGS.videos, FLAGS.recordings)


def settings():
    """Returns the methods' settings that this command has flags for, {name: value}."""
    return {name: FLAGS[name].value for name in methods.SETTINGS if name in FLAGS}


def make_results(chosen, names, of_settings, results, evaluate=evaluate_method):
    """Evaluates methods on streams, unless the folder has the result, with --jobs processes.

    An interruption ends the command.

    Args:
      chosen: Streams.
      names: of methods.
      of_settings: {name: value}; see `methods.settings_of`.
      results: the folder.
      evaluate: see `jobs.run`.

    Raises:
      UserError: an evaluation failed, settings, streams or the folder are invalid, or another
        command makes results in the folder.
    """
    methods.check(of_settings, names)
    frames = {stream.name: streams.check(stream) for stream in chosen}
    work = [(stream, method) for stream in chosen for method in names]
    # The other of two commands would make the same results again.
    with locks.Lock(results, "results", is_folder=True):
        pairs = [
            (stream, frames[stream.name], method)
            for stream, method in jobs.still_to_do(work, results, of_settings)
        ]
        if pairs and not jobs.run(pairs, of_settings, results, FLAGS.jobs, evaluate):
            print(f"stopped early: run the same command to continue ({FLAGS.results})")
            sys.exit(command_line.EXIT_INTERRUPTED)
