"""How each block of the documents is run: as printed, but for the small overrides that stand here."""

from __future__ import annotations

from tests.examples.ways import Commands, Elsewhere, Listing, Python, Site, SpecBlock

__all__ = ["HOW", "LOCAL"]

LOCAL = ["--site", "local", "site.tracking=off"]
DIGITS = {"data": {"source": "digits"}, "net": {"net": "mlp", "hidden": [16]}}
SEARCH = {
    "kind": "search",
    "recipe": {
        **DIGITS,
        "data": {"source": "digits", "validation": 200},
        "optimizer": {"method": "sgd", "momentum": 0.9, "learning_rate": 0.1},
        "steps": 20,
        "evaluate": {"every_steps": 10, "splits": ["validation"]},
    },
    "goals": [{"minimise": "validation_loss"}],
    "budget": {"units": 6},
    "generation": 3,
}
SPACE = {
    "optimizer": {"choice": {"sgd": {"learning_rate": {"log_uniform": [1e-3, 1]}, "momentum": {"uniform": [0, 0.99]}}}}
}
ZOO = {"kind": "zoo", "recipe": {**DIGITS, "steps": 20}, "seeds": {"range": 2}}
SCALING_SMALL = [
    *("recipe.data.states=8", "recipe.data.context=8", "recipe.data.train=2000", "recipe.schedule.warmup_steps=2"),
    *(
        "backend=loop",
        "widths=[4,8,12]",
        "budgets.geometric=[2e7,8e7,3]",
        "limits.least_steps=10",
        "validate.budgets=[1.6e8]",
    ),
]
SCALING = {
    "kind": "scaling",
    "recipe": {
        "data": {"source": "markov", "states": 8, "context": 8, "train": 2000},
        "net": {"net": "gpt", "depth": 1},
        "optimizer": {"method": "adam", "learning_rate": 0.02},
        "batch_size": 32,
    },
    "backend": "loop",
    "widths": [4, 8, 12],
    "shape": {"head_width": 4},
    "budgets": {"geometric": [2e7, 8e7, 3]},
    "limits": {"least_steps": 10},
}
LANDSCAPE = "landscape_skip"
LANDSCAPE_SMALL = [
    *(f"models.{name}.{change}" for name in ("skip", "noskip") for change in ("depth=8", "width=2", "train.epochs=1")),
    *(f"axes.{axis}.linear=[-1,1,3]" for axis in "xy"),
    *(f"evaluators.{split}.first=64" for split in ("train", "test")),
]
SUBSETS = "docs/zoo.md: kind: zoo\nname: subsets"
SUBSETS_SMALL = ["seeds.range=8", "recipe.steps=5", "backend=bmm"]
ZOO_MINE = "docs/zoo.md: kind: zoo\nname: mine"
ZOO_SMALL = ["samples.count=1", "axes.optimizer.learning_rate=[0.1,0.3]"]
ZOO_HYPER = {"sweeps/specs/zoo_digits_hyper.yaml": ["samples.count=20", "recipe.steps=100"]}
TRANSFER = {
    "sweeps/specs/transfer_mlp.yaml": [
        *("values=[64,128]", "rates={log2: [-6, -2, 3]}", "seeds={range: 1}", "recipe.steps=5", "planner=grid"),
    ],
}
PHASE = {
    "sweeps/specs/zoo_digits_phase.yaml": [
        "axes={net.hidden.0: [8, 16], optimizer.learning_rate: [0.03, 0.1]}",
        *("recipe.steps=40", "recipe.evaluate.every_steps=40", "seeds={range: 2}"),
    ]
}
MEASURE = {
    "kind": "measure",
    "of": [{"sweep": "results/zoo_digits_phase", "where": "optimizer.learning_rate == 0.1"}],
    "evaluators": {"train": {"split": "train", "first": 200}, "test": {"split": "test", "first": 100}},
}
MEASURED_SMALL = {
    "landsweep run zoo_digits_phase": [
        "axes={net.hidden.0: [8, 16], optimizer.learning_rate: [0.01, 0.03]}",
        *("recipe.steps=40", "recipe.evaluate.every_steps=40", "seeds={range: 2}", *LOCAL),
    ],
    "landsweep run measure_spectrum": [
        *(f"measures.{name}.{change}" for name in ("hessian", "ggn") for change in ("steps=6", "runs=1")),
        *LOCAL,
    ],
    "landsweep run measure_rebasin": LOCAL,
    "landsweep run measure_phases": ["measures.curve.steps=5", *LOCAL],
}
MINIMA = ["axes.start={range: 4}", "axes.lr=[0.001, 0.01]", "fixed.steps=20"]
RESTARTS = {
    "kind": "function",
    "function": "my_script:train",
    "axes": {"learning_rate": [0.1, 0.3], "start": [1, 2]},
}
BRANCHES_SMALL = ["branches.short={at: 10, steps: 5}", "branches.long={at: 40, steps: 8, decay: linear}"]
CLUSTER = "tests/cluster/test_documents.py"
HOW: dict[str, SpecBlock | Commands | Python | Site | Listing | Elsewhere] = {
    "README.md: make demo": Elsewhere(".ci/run", "every run of CI types both commands on a clean checkout"),
    "README.md: kind: landscape": SpecBlock(LANDSCAPE_SMALL),
    "README.md: kind: command": SpecBlock(shows="len(rows) == 15 and rows.loss.notna().all()"),
    "README.md: kind: search": SpecBlock(["budget.units=6", "generation=3"], shows="rows.loss.notna().all()"),
    "README.md: kind: function": SpecBlock(),
    "docs/start.md: make dist": Elsewhere(
        "tests/test_package.py::test_the_demo_runs_from_an_installed_wheel_far_from_the_repository",
        "a wheel is built and installed into an environment of its own",
    ),
    "docs/start.md: landsweep specs": Commands(
        {"landsweep plan": MINIMA, "landsweep explain": MINIMA, "landsweep run": [*MINIMA, *LOCAL]}, says="sound"
    ),
    "docs/start.md: def train": Python(shows="train(0.1, 0) == {'loss': 0.0}"),
    "docs/start.md: kind: function": SpecBlock(shows="len(rows) == 21"),
    "docs/start.md: from landsweep import load": Python({"function_minima": MINIMA}, "len(sweep.rows) == 24"),
    "docs/specs.md: base: function_minima": SpecBlock(shows="len(rows) == 120"),
    "docs/specs.md: kind: function": SpecBlock(shows="len(rows) == 48"),
    "docs/specs.md: name: trained_and_measured": Elsewhere(
        "tests/orchestrator/run/test_stages.py::test_stages_are_planned_run_shown_and_grown_as_one", "fewer steps"
    ),
    "docs/functions.md: kind: function": SpecBlock(shows="len(rows) == 15"),
    "docs/functions.md: axes: {seed: {range: 3}}": Elsewhere(
        "tests/sweeps/function/test_samples.py::test_each_combination_meets_all_values_of_the_axes",
        "part of a spec whose function is the reader's",
    ),
    "docs/have-a-script.md: kind: command": SpecBlock(shows="len(rows) == 15 and rows.loss.notna().all()"),
    "docs/have-slurm.md: executor: ray": Site(),
    "docs/want-a-zoo.md: landsweep run": Commands(
        {"landsweep run": ["samples.count=20", "recipe.steps=100", *LOCAL]}, says="card"
    ),
    "docs/want-a-zoo.md: from landsweep import Zoo": Python(ZOO_HYPER, "len(zoo.rows) == 20"),
    "docs/want-a-law.md: landsweep fit": Commands(says="alpha"),
    "docs/want-a-law.md: landsweep plan": Commands(
        {"landsweep plan": SCALING_SMALL, "landsweep run": SCALING_SMALL}, slow=True, says="1e+12"
    ),
    "README.md: from landsweep import Zoo": Python(ZOO_HYPER, "len(x) == 1210 and 0 <= y <= 1"),
    "README.md: landsweep run zoo_digits_phase": Commands(MEASURED_SMALL, slow=True, says="report"),
    "README.md: space:": SpecBlock(["budget.units=8", "generation=4"], SEARCH),
    "README.md: kind: transfer": SpecBlock(
        ["values=[64,128]", "rates={log2: [-6, -2, 3]}", "seeds={range: 1}"], {"recipe": {**DIGITS, "steps": 10}}
    ),
    "README.md: landsweep fit runs.csv": Commands(says="E"),
    "README.md: kind: scaling": SpecBlock(SCALING_SMALL),
    "README.md: landsweep run scaling_markov": Elsewhere(
        "tests/sweeps/lab/training/test_ray_gangs.py::test_a_scaling_study_whose_largest_model_spans_two_devices",
        "wants two workers",
    ),
    f"README.md: landsweep run {LANDSCAPE} --site ray-cluster": Commands(
        {"landsweep run": ["--dry-run"]}, says="1,250"
    ),
    "README.md: results/landscape_skip/": Listing({LANDSCAPE: LANDSCAPE_SMALL, **ZOO_HYPER}),
    "README.md: import pandas as pd": Python({LANDSCAPE: LANDSCAPE_SMALL}, "len(rows) == 18"),
    "CONTRIBUTING.md: from collections.abc import": Elsewhere(
        "tests/test_docs.py::test_the_kind_in_contributing_passes_the_suite", "it is given to the suite of kinds"
    ),
    "CONTRIBUTING.md: [project.entry-points": Elsewhere("", "lines of another package's pyproject.toml"),
    "CONTRIBUTING.md: class TestCoin(KindSuite):": Elsewhere(
        "tests/test_docs.py::test_the_kind_in_contributing_passes_the_suite", "the same suite, called there"
    ),
    "docs/architecture.md:                   src/landsweep/": Elsewhere(
        "tests/test_architecture.py::test_the_picture_names_every_room", "a picture of the folders"
    ),
    f"docs/clusters.md: landsweep submit {LANDSCAPE}": Elsewhere(
        f"{CLUSTER}::test_the_commands_of_the_page_on_clusters", "wants a Slurm"
    ),
    "docs/clusters.md: $ landsweep drill --seconds 20": Commands({"landsweep drill": []}, slow=True, says="survived"),
    "docs/clusters.md: $ landsweep drill --training": Elsewhere(
        "tests/cluster/drill/test_drill.py::test_a_drill_of_a_training_kills_its_worker", "takes minutes, with Ray"
    ),
    "docs/clusters.md: $ landsweep drill --site": Elsewhere(
        "tests/cluster/drill/test_drill.py::test_a_drill_through_slurm_kills_the_driver_from_inside_and_a_node",
        "a Slurm",
    ),
    "docs/connectivity.md: subjects:": SpecBlock(
        ["measures.bezier.steps=20"],
        MEASURE,
        shows="(rows.barrier_loss_line[rows.measure == 'line'] >= 0).all()",
        runs=PHASE,
    ),
    "docs/landscapes.md: models:\n  start:": Elsewhere(
        "tests/sweeps/landscape/test_landscape_stored.py::test_small_grids_along_a_training_have_one_scale_and_the_losses_of_its_checkpoints",
        "names a model of the reader's zoo",
    ),
    "docs/landscapes.md: kind: landscape\nname: inputs": SpecBlock(shows="len(rows) == 15"),
    "docs/landscapes.md: kind: landscape\nname: scales": SpecBlock(shows="len(rows) == 25"),
    "docs/landscapes.md: kind: landscape\nname: mixed": SpecBlock(shows="len(rows) == 15"),
    "docs/landscapes.md: kind: landscape\nname: path": SpecBlock(shows="len(rows) > 15"),
    "docs/landscapes.md: kind: landscape\nname: refined": SpecBlock(shows="len(rows) < 33 * 33"),
    "docs/landscapes.md: kind: landscape\nname: sources": SpecBlock(
        shows="set(rows.model) == {'trained', 'untrained'}"
    ),
    "docs/landscapes.md: landsweep plan SPEC --tensors": Commands(replaced={"SPEC": LANDSCAPE}, says="filter"),
    "docs/landscapes.md: import torch": Python(shows="rings()['train'][0].shape == (200, 2)"),
    "docs/landscapes.md: kind: landscape\nname: rings": SpecBlock(
        shows="(rows.test_accuracy[rows.x == 0] > 0.8).all() and (rows.margin_loss[rows.x == 0] < 0).all()"
    ),
    "docs/laws.md: from landsweep import fit": Python(shows="'alpha' in set(fitted.parameters()['name'])"),
    "docs/measure.md: kind: measure": SpecBlock(
        shows="set(rows.measure) == {'loss', 'disagreement', 'distance'}", runs=PHASE
    ),
    "docs/measure.md: measures:\n  norm": SpecBlock((), MEASURE, shows="(rows.norm > 0).all()", runs=PHASE),
    "docs/measure.md: phases:": Elsewhere(
        "tests/sweeps/measure/test_phases.py::test_the_report_of_a_sweep_shows_the_phases", "a field, as in the test"
    ),
    "docs/measure.md: def norm": Python(shows="callable(norm)"),
    "docs/measure.md: from landsweep import Zoo": Python(
        {"docs/measure.md: kind: measure": (), **PHASE}, "zoo.rows['loss.loss'].notna().any() and len(x) == 1210"
    ),
    "docs/measure.md: import pandas": Python({"docs/measure.md: kind: measure": ()}, "len(rows) > 0"),
    "docs/measures-curvature.md: import torch": Python(shows="first.value > second.value"),
    "docs/optimizers.md: optimizer:": SpecBlock((), ZOO, inside="recipe"),
    "docs/phases.md: landsweep phases results": Elsewhere(
        "tests/sweeps/measure/test_phases.py::test_the_command",
        "the measures take ten minutes; a table of their form there",
    ),
    "docs/phases.md: landsweep phases --rules": Elsewhere(
        "tests/sweeps/measure/test_phases.py::test_the_command", "the shell writes the file"
    ),
    "docs/python.md: from landsweep import plan": Python(shows="len(sweep) == 18 and set(sweep.rows.status) == {'ok'}"),
    "docs/python.md: from landsweep import load": Python(
        {"sweeps/specs/function_minima.yaml": MINIMA}, "len(sweep.figures) and len(sweep.rows) == 24"
    ),
    "docs/reports.md: DIR/report/": Listing({LANDSCAPE: LANDSCAPE_SMALL, **TRANSFER}),
    "docs/reports.md: claims:": SpecBlock(
        (), {**ZOO, "recipes": {"sgd": {"optimizer.learning_rate": 0.1}, "sam": {"optimizer.learning_rate": 0.2}}}
    ),
    "docs/reports.md: repeats: [start]": SpecBlock((), RESTARTS),
    "docs/scaling.md: landsweep plan": Commands(
        {"landsweep plan": SCALING_SMALL, "landsweep run": SCALING_SMALL}, says="1e+12"
    ),
    "docs/scaling.md: landsweep plan scaling_cluster": Commands(says="device-hours, which cost"),
    "docs/scaling.md: recipe:": SpecBlock(["recipe.schedule.warmup_steps=5"], SCALING),
    "docs/data.md: import numpy": Python(shows="next(waves('train', 0, 0, 1))[0].shape == (16,)"),
    "docs/data.md: recipe:\n  data:\n    source: mixture": SpecBlock(
        [
            *(f"recipe.data.domains.{d}.{size}" for d in ("web", "wiki") for size in ("vocabulary=300", "context=16")),
            *("recipe.net.width=16", "recipe.net.depth=1", "recipe.net.heads=2", "recipe.steps=6"),
            *("recipe.batch_size=4", "recipe.evaluate.first=8", "samples.count=2"),
        ],
        {"kind": "zoo"},
        shows="rows[['test_web_loss', 'test_wiki_loss']].notna().all().all() "
        "and ((rows['data.weights.web'] + rows['data.weights.wiki'] - 1).abs() < 1e-5).all()",
    ),
    "docs/data.md: recipe:\n  data:\n    source: token_files": SpecBlock(
        [
            *("recipe.data.vocabulary=50", "recipe.data.context=16", "recipe.net.width=16", "recipe.net.depth=1"),
            *("recipe.net.heads=2", "recipe.steps=6", "recipe.batch_size=4"),
            *("recipe.evaluate.every_steps=3", "recipe.evaluate.first=8"),
        ],
        {"kind": "zoo"},
        shows="rows.test_loss.notna().all()",
    ),
    "docs/own.md: from landsweep import unit": Python(shows="train(0.1, steps=3)['loss'] < 1"),
    "docs/programs.md: kind: command": SpecBlock(shows="len(rows) == 6 and rows.loss.notna().all()"),
    "docs/schedules.md: from pathlib import Path": Python(
        shows="sorted(points) == [1000, 2000, 4000] and len(events) > 0"
    ),
    "docs/schedules.md: recipe:": SpecBlock(
        ["recipe.steps=40", "recipe.schedule.warmup_steps=5", *BRANCHES_SMALL],
        ZOO,
    ),
    "docs/schedules.md: >>> from landsweep.sweeps.lab.schedule_bound": Python(),
    "docs/search.md: space:\n  optimizer.learning_rate": SpecBlock((), SEARCH),
    "docs/search.md: space:\n  optimizer:": SpecBlock((), SEARCH),
    "docs/search.md: target:": SpecBlock((), {**SEARCH, "space": SPACE}),
    "docs/search.md: enqueue:": SpecBlock((), {**SEARCH, "space": SPACE}),
    "docs/security.md: landsweep regenerate": Commands(
        {"landsweep rerun": ["site.executor=local", "site.tracking=off"]},
        {ZOO_MINE: ZOO_SMALL},
        {"their_zoo": "results/mine", "their_sweep": "results/mine", "3f2a": "KEY"},
        says="MLflow run",
    ),
    "docs/sites/cloud.md: pip install boto3": Elsewhere(
        "tests/cluster/launchers/test_manifests.py::test_rays_autoscaler_takes_the_cluster_file", "machines cost money"
    ),
    f"docs/sites/kuberay.md: landsweep submit {LANDSCAPE}": Elsewhere(
        "tests/cluster/launchers/test_kuberay.py::test_a_rayjob_from_creation_to_deletion", "wants a Kubernetes"
    ),
    "docs/sites/rayjobs.md: ssh -N": Elsewhere(
        f"{CLUSTER}::test_the_commands_of_the_page_on_ray_jobs", "without the tunnel, which wants a host"
    ),
    f"docs/sites/rayjobs.md: landsweep submit {LANDSCAPE}": Elsewhere(
        f"{CLUSTER}::test_the_commands_of_the_page_on_ray_jobs", "wants a Ray cluster with a dashboard"
    ),
    "docs/sites/rayjobs.md: export RAY_AUTH_MODE": Elsewhere(
        f"{CLUSTER}::test_the_commands_of_the_page_on_ray_jobs", "the cluster is started the same way there"
    ),
    "docs/sites/slurm.md: executor: ray": Site(),
    "docs/sites/slurm.md: $ landsweep submit": Elsewhere(
        f"{CLUSTER}::test_the_worked_example_on_slurm", "wants a Slurm"
    ),
    "docs/sites/ssh.md: executor: ray": Site(),
    f"docs/sites/ssh.md: landsweep submit {LANDSCAPE}": Elsewhere(
        "tests/cluster/launchers/test_conformance.py::TestSsh", "submitted and cancelled there, through a real sshd"
    ),
    f"docs/storage.md: landsweep run {LANDSCAPE}": Commands({"landsweep run": LANDSCAPE_SMALL}, says="sound"),
    "docs/tracking.md: landsweep run": Elsewhere(
        "tests/orchestrator/tracking/test_following.py::check_live", "wants a server; run there"
    ),
    "docs/tracking.md: import json": Python(shows="issubclass(Lines, Tracker)"),
    "docs/tracking.md: [project.entry-points": Elsewhere("", "lines of another package's pyproject.toml"),
    "docs/ui.md: landsweep ui": Elsewhere(
        "tests/orchestrator/ui/test_pages.py::test_a_curve_appears_while_the_sweep_runs", "a server; looked at there"
    ),
    "docs/ui.md: ssh -L": Elsewhere("", "wants another machine"),
    "docs/training.md: devices:": Elsewhere(
        "tests/sweeps/lab/training/test_devices.py::test_devices_follow_from_parameters",
        "three ways to write one field",
    ),
    "docs/training.md: landsweep run": Elsewhere(
        "tests/sweeps/lab/training/test_ray_gangs.py::test_a_scaling_study_whose_largest_model_spans_two_devices",
        "wants a Ray; run there",
    ),
    "docs/transfer.md: kind: transfer": SpecBlock(
        ["values=[64,128]", "rates={log2: [-6, -2, 3]}", "seeds={range: 1}", "sharpness.times=2"],
        {"recipe": {**DIGITS, "steps": 10}},
    ),
    ZOO_MINE: SpecBlock(ZOO_SMALL),
    "docs/zoo.md: kind: zoo\nname: rings": SpecBlock(shows="len(rows) == 4 and rows.test_accuracy.max() > 0.8"),
    "docs/zoo.md: bisect:": SpecBlock(
        rest={**ZOO, "backend": "bmm"},
        changes=[
            *("bisect.resolution=0.9", "bisect.between=[0.1, 100]", "recipe.steps=60"),
            *("recipe.optimizer={method: sgd}", "bisect.holds='status == ok and train_accuracy > 0.2'"),
        ],
        shows="rows['optimizer.learning_rate'].nunique() > 3",
    ),
    SUBSETS: SpecBlock(changes=SUBSETS_SMALL),
    "docs/zoo.md: kind: function\nname: datamodels": SpecBlock(
        changes=["axes.models=[8]", "fixed.targets=5"], runs={SUBSETS: SUBSETS_SMALL}, shows="rows.itself.notna().any()"
    ),
    "docs/zoo.md: recipe:": Elsewhere(
        "tests/sweeps/lab/trained_models/test_child.py::test_what_is_pruned_or_frozen_stays_so_while_the_rest_trains",
        "needs a sweep of parents",
    ),
    "docs/zoo.md: landsweep regenerate": Commands(runs={ZOO_MINE: ZOO_SMALL}, replaced={"KEY": "KEY"}, says="equal"),
    "docs/zoo.md: from landsweep import Zoo": Python({ZOO_MINE: ZOO_SMALL}, "len(good) > 0"),
    "docs/zoo.md: from pathlib import Path": Python(shows="1 < least < 2.7"),
}
