"""The speed-run: its rules refuse what they say, a run goes from end to end, and the page shows what was measured."""

import dataclasses
import functools
import json
import sys
import tomllib
from pathlib import Path

import pytest
import torch

import vaelib as vl

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import speedrun
import speedrun_rules as rules

SMALL = speedrun.Recipe("small", "a test", 88.0, epochs=3, lr=1e-3, threads=1, seeds=3)


def network(**other) -> vl.VAE:
    return vl.VAE.mlp((1, 28, 28), **{"latent": 50, "hidden": (200, 200), **other})


def record(nlls: list[float], seconds: list[float], number: int = 1, target: float = 88.0, **settings) -> dict:
    """That of runs with these figures beside a reference that takes 100 s."""
    rows = [
        {"seed": i, "nll": nll, "seconds": s, "reference": 100.0}
        for i, (nll, s) in enumerate(zip(nlls, seconds, strict=True))
    ]
    made = {"processor": "a processor", "threads": 2, "torch": "2.13.0", "date": "2026-01-01"}
    recipe = dataclasses.replace(SMALL, target=target, **settings)
    return rules.record(number, f"recipe-{number}", dataclasses.asdict(recipe), rows, made)


# The rules


def test_the_network_of_the_rules_may_have_any_activation():
    rules.same_network(network())
    rules.same_network(network(activation=torch.nn.SiLU))
    rules.same_network(SMALL.build(0, torch.rand(10, 1, 28, 28)))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"latent": 40}, r"heads.0.weight is \(40, 200\), expected \(50, 200\)"),
        ({"hidden": (200, 201)}, r"is \(201, 200\), expected \(200, 200\)"),
        ({"hidden": (200,)}, "missing"),
        ({"norm": "batch"}, "expected"),
        ({"gated": True}, "expected"),
        ({"likelihood": "gaussian"}, "expected none"),
    ],
)
def test_another_network_is_refused(wrong, says):
    with pytest.raises(ValueError, match=f"not the one-level network 784-200-200-50: .*{says}"):
        rules.same_network(network(**wrong))


def test_a_learned_prior_and_a_second_level_are_refused():
    model = network()
    model.prior = vl.MixturePrior(50, 2)
    for other in (model, vl.MHVAE.mlp((1, 28, 28), (50, 50), ((200, 200), (100,)))):
        with pytest.raises(ValueError, match="not the one-level network"):
            rules.same_network(other)


def test_images_that_are_not_for_training_are_refused():
    def split(first: int, last: int) -> vl.Split:
        return vl.Split(torch.arange(first, last).view(-1, 1, 1, 1).expand(-1, 1, 2, 2) / 100)

    data = vl.Dataset(split(0, 50), split(50, 60), split(60, 80), split(0, 60))
    for right in (data.full_train, data.valid, data.train[torch.tensor([7, 3, 3])]):
        rules.only_training_images(right.images, data)
    wrong = torch.cat([data.train.images, data.test.images[:3], split(90, 91).images])
    with pytest.raises(ValueError, match="4 of 54 images are not for training; 3 of these are test images"):
        rules.only_training_images(wrong, data)
    with pytest.raises(ValueError, match="60 of 60 images are not for training; 0 of these"):
        rules.only_training_images(data.full_train.images.flip(0) + 1e-3, data)


@pytest.mark.slow
def test_what_is_trained_on_and_scored():
    data = vl.load("mnist")
    for kind, train, number, samples in [
        ("official", data.full_train, 10_000, 5000),
        ("valid", data.train, 10_000, 500),
    ]:
        x, scored, k = speedrun.images(kind)
        assert torch.equal(x, train.images)
        assert (len(scored), k) == (number, samples)
        assert set(scored.unique().tolist()) == {0.0, 1.0}
    assert not (speedrun.images("official")[1] > 0)[data.test.images == 0].any()
    assert not (scored > 0)[data.valid.images == 0].any()


def test_a_busy_machine_is_refused(monkeypatch):
    monkeypatch.setattr(rules.os, "sched_setaffinity", lambda *_: None, raising=False)
    monkeypatch.setattr(rules.os, "getloadavg", lambda: (1.5, 0.0, 0.0), raising=False)
    with pytest.raises(ValueError, match=r"1.50 processes were at work in the last minute"):
        rules.two_quiet_cores()
    monkeypatch.setattr(rules.os, "getloadavg", lambda: (0.1, 9.0, 9.0))
    rules.two_quiet_cores()


# The records


@pytest.mark.parametrize(
    ("nlls", "enough"),
    [
        ([87.7, 87.8, 87.75], True),  # 8.7 standard errors below
        ([87.7, 88.0, 87.85], False),  # 1.7 of them
        ([88.2, 88.3, 88.25], False),
        ([87.0, 87.01], False),  # two seeds are not three, however far below
    ],
)
def test_a_target_is_reached_where_chance_is_an_unlikely_reason(nlls, enough):
    assert rules.reached(record(nlls, [50.0] * len(nlls))) is enough


def test_the_p_value_is_that_of_students_t():
    # With two degrees of freedom P(T < t) = 1/2 + t / (2 sqrt(2 + t^2)) in closed form.
    one = record([87.7, 87.8, 87.9], [50.0, 60.0, 70.0])
    t = -0.2 / (0.1 / 3**0.5)
    assert one["p"] == pytest.approx(0.5 + t / (2 * (2 + t * t) ** 0.5), abs=5e-4)
    assert one["spread"] == pytest.approx(0.1)
    assert (one["nll"], one["seconds"]) == (87.8, 60.0)
    assert (one["ratio"], one["ratio_stderr"]) == (0.6, pytest.approx(0.1 / 3**0.5, abs=1e-4))


def test_a_record_is_taken_by_more_than_the_noise_of_the_clock_and_only_below_the_target():
    good, bad = [87.7, 87.8, 87.75], [88.2, 88.3, 88.25]
    first = record(good, [90.0, 91.0, 92.0], 1)
    noise, missed = record(good, [89.0, 91.0, 90.0], 2), record(bad, [10.0, 10.0, 10.0], 3)
    faster, lower = record(good, [80.0, 81.0, 82.0], 4), record([86.5, 86.6, 86.55], [500.0] * 3, 5, target=86.8)
    assert rules.holders([first, noise, missed]) == [first]
    assert rules.holders([first, noise, missed, faster, lower]) == [faster, lower]
    lines = rules.table([first, noise, missed, faster, lower]).splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == [f"recipe-{i}" for i in (4, 2, 1, 3, 5)]
    assert [line.split(" | ")[7] for line in lines] == ["**record**", "reached", "reached", "missed", "**record**"]


def test_what_nobody_has_reached_is_said():
    assert rules.table([]) == "No record yet: 88.0, 86.8 nats.\n"
    shown = rules.table([record([87.7, 87.8, 87.75], [50.0] * 3)])
    assert shown.endswith("\n\nNo record yet: 86.8 nats.\n")
    assert "88.0 | [`recipe-1`](results/speedrun/01-recipe-1.log): small | 0.500 ± 0.000 | 50.0 | 100.0 |" in shown


def test_the_page_shows_the_records_and_its_recipes_can_be_trained():
    page, path = speedrun.PAGE.read_text(), speedrun.RESULTS / "speedrun.json"
    records = json.loads(path.read_text())
    assert page.split(speedrun.MARKS[0])[1].split(speedrun.MARKS[1])[0] == rules.table(records)
    assert all((speedrun.RESULTS / "speedrun" / one["log"]).exists() for one in records)
    recipes = tomllib.loads((speedrun.HERE / "speedrun.toml").read_text())
    assert "reference" in recipes
    for values in recipes.values():
        recipe = speedrun.Recipe(**values)
        assert recipe.target in rules.TARGETS
        assert recipe.seeds >= rules.SEEDS
        assert recipe.threads <= rules.CORES
        rules.same_network(recipe.build(0, torch.rand(10, 1, 28, 28)))


# A run


def test_the_learning_rate_rises_and_falls():
    recipe = dataclasses.replace(SMALL, epochs=10, lr=4e-3, rise=2.0)
    assert [recipe.rate(epoch) for epoch in (0, 1, 2, 6, 10)] == pytest.approx([0, 2e-3, 4e-3, 2e-3, 0], abs=1e-12)
    assert SMALL.rate(0) == SMALL.lr


@functools.cache
def few(kind: str):
    x = vl.load("mnist").train.images[:256]
    return x, x[:20].round(), 5


@pytest.mark.slow
def test_the_weights_of_the_last_epochs_are_averaged(monkeypatch):
    monkeypatch.setattr(speedrun, "images", few)
    last = []
    for epochs in (2, 3):  # one stopped at each of the ends that are averaged: the learning rate is held
        monkeypatch.setattr(speedrun.Recipe, "rate", lambda recipe, epoch: 1e-3)
        last.append(speedrun.train(dataclasses.replace(SMALL, epochs=epochs), 0, "few")[0])
    mean, seconds, log = speedrun.train(dataclasses.replace(SMALL, averaged=2), 0, "few")
    for name, weight in mean.items():
        assert torch.allclose(weight, (last[0][name] + last[1][name]) / 2, atol=1e-7), name
    assert any(not torch.equal(weight, last[1][name]) for name, weight in mean.items())
    assert [row["epoch"] for row in log] == [1, 2, 3]
    assert 0 < log[0]["seconds"] < log[1]["seconds"] < log[2]["seconds"] <= seconds


@pytest.mark.slow
def test_a_training_that_breaks_a_rule_or_is_interrupted_comes_to_nothing(monkeypatch):
    monkeypatch.setattr(speedrun, "images", few)
    monkeypatch.setattr(speedrun.Recipe, "build", lambda *_: network(latent=49))
    with pytest.raises(ValueError, match="not the one-level network"):
        speedrun.train(SMALL, 0, "few")

    def interrupt(recipe, epoch):
        raise KeyboardInterrupt

    monkeypatch.setattr(speedrun.Recipe, "rate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        speedrun.train(SMALL, 0, "few")


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """The files of the speed-run, in a folder of the test's own, with one small recipe."""
    monkeypatch.setattr(speedrun, "HERE", tmp_path)
    monkeypatch.setattr(speedrun, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(speedrun, "PAGE", tmp_path / "speedrun.md")
    monkeypatch.setattr(speedrun, "KEPT", tmp_path / "kept")
    (tmp_path / "results").mkdir()
    (tmp_path / "speedrun.md").write_text(f"Before.\n{speedrun.MARKS[0]}old\n{speedrun.MARKS[1]}After.\n")
    settings = 'target = 88.0\nepochs = 2\nlr = 1e-3\nthreads = 1\nby = "a test"\n'
    recipes = (
        f'[reference]\ntitle = "plain"\nseeds = 2\n{settings}[other]\ntitle = "another"\nbatch_size = 64\n{settings}'
    )
    (tmp_path / "speedrun.toml").write_text(recipes)
    return tmp_path


@pytest.mark.slow
def test_a_rehearsal_trains_in_processes_of_their_own_and_writes_nothing(elsewhere, capsys):
    before = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    assert speedrun.main(["reference", "--quick"]) == 0
    shown = capsys.readouterr().out
    assert [line.partition(":")[0] for line in shown.splitlines()] == [
        *(f"plain, seed {seed}" for seed in range(2)),
        *(f"seed {seed}" for seed in range(2)),
    ]
    assert {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_an_official_run_takes_turns_with_the_reference_and_is_written_as_a_whole(elsewhere, monkeypatch, capsys):
    order = []
    monkeypatch.setattr(speedrun, "images", few)
    monkeypatch.setattr(rules, "two_quiet_cores", lambda: None)

    def apart(recipe, seed, kind):
        order.append((recipe.title, seed, kind))
        seconds = (100.0 if recipe.title == "plain" else 50.0) + seed
        log = [{"epoch": 1, "seconds": seconds / 2, "elbo": -100.0}, {"epoch": 2, "seconds": seconds, "elbo": -99.0}]
        return recipe.build(seed, few(kind)[0]).state_dict(), seconds, log

    monkeypatch.setattr(speedrun, "apart", apart)
    assert speedrun.main(["other"]) == 0
    assert order == [(title, seed, "official") for seed in range(3) for title in ("plain", "another")]
    (one,) = json.loads((elsewhere / "results" / "speedrun.json").read_text())
    assert (one["recipe"], one["number"], one["settings"]["batch_size"]) == ("other", 1, 64)
    assert [row["seed"] for row in one["runs"]] == [0, 1, 2]
    assert [(row["seconds"], row["reference"]) for row in one["runs"]] == [(50.0, 100.0), (51.0, 101.0), (52.0, 102.0)]
    assert one["nll"] == pytest.approx(sum(row["nll"] for row in one["runs"]) / 3, abs=1e-4)
    assert len({row["nll"] for row in one["runs"]}) == 3
    page = (elsewhere / "speedrun.md").read_text()
    assert page == f"Before.\n{speedrun.MARKS[0]}{rules.table([one])}{speedrun.MARKS[1]}After.\n"
    log = (elsewhere / "results" / "speedrun" / one["log"]).read_text().splitlines()
    assert [line.split()[:2] for line in log] == [["seed", "epoch"], *([s, e] for s in "012" for e in "12")]

    files = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    nll = speedrun.vl.nll
    monkeypatch.setattr(speedrun.vl, "nll", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        speedrun.main(["reference"])
    assert {p: p.read_bytes() for p in elsewhere.rglob("*") if p.is_file() and p.suffix != ".pt"} == files
    order.clear()
    monkeypatch.setattr(speedrun.vl, "nll", nll)
    monkeypatch.setattr(rules, "two_quiet_cores", lambda: pytest.fail("nothing is to be trained"))
    assert speedrun.main(["reference"]) == 0  # what was trained is scored
    assert order == []
    assert not list(elsewhere.rglob("*.pt"))
    _, two = json.loads((elsewhere / "results" / "speedrun.json").read_text())
    assert [row["seconds"] for row in two["runs"]] == [100.0, 101.0]

    monkeypatch.setattr(rules, "two_quiet_cores", lambda: None)
    monkeypatch.setattr(speedrun.vl, "nll", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        speedrun.main(["reference"])
    recipes = elsewhere / "speedrun.toml"
    recipes.write_text(recipes.read_text().replace("epochs = 2", "epochs = 3"))
    monkeypatch.setattr(speedrun.vl, "nll", nll)
    order.clear()
    assert speedrun.main(["reference"]) == 0  # by other settings all is trained again
    assert len(order) == 2


def test_the_command_knows_its_recipes_and_makes_the_table_alone(elsewhere, capsys):
    assert speedrun.main(["nobody"]) == 2
    assert "no recipe is called nobody: expected one of reference, other" in capsys.readouterr().err
    assert speedrun.main([]) == 0
    page = f"Before.\n{speedrun.MARKS[0]}No record yet: 88.0, 86.8 nats.\n{speedrun.MARKS[1]}After.\n"
    assert (elsewhere / "speedrun.md").read_text() == page
    assert json.loads((elsewhere / "results" / "speedrun.json").read_text()) == []
