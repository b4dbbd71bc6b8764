"""Table 2: accuracy against cost of JITNet, the offline oracle, flow, and two further baselines.

    python -m experiments.table2 --streams=experiments/streams/short.csv --videos=VIDEOS \\
        --recordings=RECORDINGS --results=runs/table2
    python -m experiments.table2 --print=runs/table2

Each method on each stream makes one result in --results, with its predictions on every fourth
frame. After an interruption the same command makes the missing ones. `--print` makes the tables
from results alone.

--only also takes students with other settings, such as max_updates=4; one of several settings goes
into quotes: --only='jitnet_0.8,"input_scale=0.5,init=random"'.
"""

from absl import flags

from experiments import methods
from experiments.reports import command, table2
from experiments.reports.results import Results
from jitnet_tf.base import command_line

FLAGS = flags.FLAGS
TABLE = "table2.md"


def define_flags():
    """Defines the flags of table 2."""
    command.define_flags()
    methods.define_flags(methods.METHODS)


def main():
    """Makes the missing results and prints the tables, or prints them only."""
    if FLAGS.print:
        print(table2.report(Results.load(FLAGS.print)))
        return
    listed, settings = command.listed_streams(), command.settings()
    names, chosen = methods.select(FLAGS.only, listed, variants=True)
    command.make_results(chosen, names, settings, FLAGS.results)
    command.show_tables(table2.report, listed, TABLE)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)
