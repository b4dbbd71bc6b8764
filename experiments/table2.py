"""Table 2: accuracy against cost of JITNet, the offline oracle, flow, and two further baselines.

    python -m experiments.table2 --streams=experiments/streams/short.csv --videos=VIDEOS \\
        --recordings=RECORDINGS --results=runs/table2
    python -m experiments.table2 --print=runs/table2

Each method on each stream is a result of its own under --results, with its predictions on every
fourth frame. Interrupted, the same command goes on with those that are missing. `--print` makes
the tables from the results alone.
"""

from absl import flags

from experiments import methods
from experiments.reports import command, table2
from experiments.reports.results import Results
from jitnet_tf.base import command_line

FLAGS = flags.FLAGS
TABLE = "table2.md"


def define_flags():
    """Defines this command's flags."""
    d = methods.Settings()
    command.define_flags()
    flags.DEFINE_string(
        "teacher",
        d.teacher,
        "SavedModel folder or zoo:NAME to run live on teacher frames, so that its time is measured "
        "in the run. Default: the recordings, with the time that they hold.",
    )
    flags.DEFINE_string("init", d.init, "Initial weights of JITNet; see jitnet_tf.distill.")
    flags.DEFINE_integer("seed", d.seed, "Of initial weights and batches.", lower_bound=0)
    flags.DEFINE_integer("oracle_steps", d.oracle_steps, "Least steps of the oracle.", 1)
    flags.DEFINE_integer(
        "oracle_epochs", d.oracle_epochs, "Its least epochs, of 20 % of frames.", 0
    )
    flags.DEFINE_integer(
        "fixed_stride", d.fixed_stride, "Stride of the row with a fixed one.", lower_bound=1
    )
    flags.DEFINE_enum("flow", d.flow, ["dis", "pwcnet"], "Estimator of the flow rows.")
    flags.DEFINE_string("pwcnet_dense", None, "Converted weights of PWC-Net, for flow slow.")
    flags.DEFINE_string("pwcnet_small", None, "Converted weights of small PWC-Net, flow fast.")


def main():
    """See the module."""
    if FLAGS.print:
        print(table2.report(Results.load(FLAGS.print)))
        return
    listed, settings = command.listed_streams(), command.settings()
    names, chosen = methods.select(FLAGS.only, listed)
    command.make_results(chosen, names, settings, FLAGS.results)
    command.show_tables(table2.report, listed, TABLE)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)
