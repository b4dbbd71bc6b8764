"""The frontier: accuracy against teacher frames and against time, at given budgets of the teacher.

    python -m experiments.frontier --streams=clips/streams.csv --results=runs/frontier --jobs=2
    python -m experiments.frontier --print=runs/frontier --plot=frontier.png

At each of --budgets, in % of the frames, it compares Algorithm 1, flow, flow with a frozen student,
and the presets' settings: on the frames that the teacher did not see, on all, by stream and
category, with all times of the run. What depends on chance is run with --seeds seeds
(`protocol.seeds`). Every method shows the teacher's labels on teacher frames.

--only takes methods, streams, and curves: algorithm_1, flow, frozen, presets. After an interruption
the same command makes the missing results.
"""

from absl import flags

from experiments import methods
from experiments.protocol import seeds
from experiments.reports import command, curves, frontier
from jitnet_tf.base import command_line
from jitnet_tf.base.errors import UserError

FLAGS = flags.FLAGS
NAME = "frontier"
SEEDS = 3
BUDGETS = ("2", "3", "4", "5", "8")


def budgets():
    """Returns --budgets as shares of the frames, in ascending order. UserError if invalid."""
    found = set()
    for text in FLAGS.budgets:
        try:
            budget = float(text) / 100
        except ValueError:
            budget = 0.0
        if not 0 < budget < 1:
            raise UserError(f"--budgets: {text!r} is invalid: give percentages, above 0, below 100")
        found.add(budget)
    if not found:
        raise UserError("--budgets is empty: give percentages, such as 2,5")
    return tuple(sorted(found))


def evaluate(known):
    """Makes the missing results of curves, {name: Curve}; returns the streams' names."""
    of_curves = {name: list(curve.points.values()) for name, curve in known.items()}
    only = [method for name in FLAGS.only for method in of_curves.get(name, [name])]
    every = tuple(dict.fromkeys(method for some in of_curves.values() for method in some))
    names, chosen = methods.select(only, command.listed_streams(), every)
    for seed in range(FLAGS.seeds):
        # Flow depends on no chance.
        wanted = [m for m in names if seed == 0 or "seed" in methods.named(m).settings]
        settings = {**command.settings(), **seeds.settings(seed, FLAGS.init)}
        if wanted:
            command.make_results(chosen, wanted, settings, seeds.folder(FLAGS.results, seed))
    return {stream.name for stream in chosen}


def define_flags():
    """Defines the flags of the frontier."""
    command.define_flags()
    command.define_plot_flag(NAME)
    names = (methods.DEFAULTS, "flow_fast")
    known = {name for method in names for name in methods.named(method).settings}
    methods.define_flags(names, known - {"seed"})
    flags.DEFINE_list("budgets", list(BUDGETS), "Teacher frames, in % of all frames.")
    flags.DEFINE_integer("seeds", SEEDS, "Number of seeds.", lower_bound=1)


def main():
    """Makes the missing results, prints the tables and draws the plot."""
    command.check_plot()
    at = budgets()
    known = curves.curves(at)
    names = None if FLAGS.print else evaluate(known)
    found = curves.Frontier.load(FLAGS.print or FLAGS.results, known, names)
    command.show(frontier.report(found, at), lambda: frontier.draw(found), NAME)


if __name__ == "__main__":
    define_flags()
    command_line.main(main)
