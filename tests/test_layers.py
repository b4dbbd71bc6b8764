"""The layers of the project: no module imports one above it, and none imports in a circle."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
# Lowest first; a module belongs to the longest name that it begins with.
LAYERS = (
    ("jitnet_tf",),  # the package itself: its version, and names that it loads lazily
    ("jitnet_tf.base",),
    ("jitnet_tf.video",),
    ("teacher",),
    ("jitnet_tf.labels", "jitnet_tf.config"),
    ("jitnet_tf.student",),
    ("jitnet_tf.distillation",),
    ("jitnet_tf.sinks",),
    ("jitnet_tf.runs",),
    ("jitnet_tf.pretraining",),
    (
        *("jitnet_tf.flags", "jitnet_tf.distill", "jitnet_tf.pretrain", "jitnet_tf.export"),
        "jitnet_tf.labels.__main__",
    ),
    ("jitnet_tf.fleet",),
    ("experiments",),
)
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path): ast.parse(path.read_text("utf-8"))
    for package in ("jitnet_tf", "teacher", "experiments")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imported_by(tree):
    """The project's modules that a module imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = names & MODULES.keys()
            found |= modules if len(modules) == len(names) else {node.module, *modules}
    return found & MODULES.keys()


def layer(module):
    return max((name for name in LEVELS if f"{module}.".startswith(f"{name}.")), key=len)


IMPORTS = {module: imported_by(tree) for module, tree in MODULES.items()}


def test_every_module_has_a_layer():
    assert len(MODULES) > 100
    inside = {module for module in MODULES if layer(module) == "jitnet_tf"}
    assert inside == {"jitnet_tf"}


def test_no_module_imports_a_higher_layer():
    found = {
        (module, other)
        for module, others in IMPORTS.items()
        for other in others
        if LEVELS[layer(module)] < LEVELS[layer(other)]
    }
    assert found == set()


def test_teachers_import_only_base_and_video():
    for module, others in IMPORTS.items():
        if layer(module) == "teacher":
            assert {layer(other) for other in others} <= {
                "jitnet_tf.base",
                "jitnet_tf.video",
                "teacher",
            }


def test_no_module_imports_itself_through_others():
    done, circles = set(), []

    def visit(module, above):
        if module in above:
            circles.append([*above[above.index(module) :], module])
        elif module not in done:
            for other in sorted(IMPORTS[module]):
                visit(other, [*above, module])
            done.add(module)

    for module in MODULES:
        visit(module, [])
    assert circles == []
