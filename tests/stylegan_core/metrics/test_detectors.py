"""Networks that look: Inception as others have it, TorchScript with consent only, the judge; streams, processes and the cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest
import torch

from stylegan_core.data.images import portraits
from stylegan_core.data.portraits import ATTRIBUTES, BINARY_ATTRIBUTES
from stylegan_core.errors import UsageError, WeightsNotFoundError
from stylegan_core.features import Features
from stylegan_core.metrics.detectors import (
    Detector,
    Seen,
    inception_detector,
    judge_detector,
    load_detector,
    whole_values,
)
from stylegan_core.metrics.frechet import frechet_distance
from stylegan_core.metrics.observed import Observed, own_share
from stylegan_core.metrics.observing import Wanted, observe_detected
from stylegan_core.metrics.report import Looking, measure_generator, pictures
from stylegan_core.metrics.statistics_cache import StatisticsCache, identity_of_path, identity_of_portraits
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import AttributeNetworkConfig
from stylegan_core.networks.inception import Inception2015, resized
from tests.tiny import tiny_generator


@pytest.fixture(scope="module")
def judge() -> Features:
    config = AttributeNetworkConfig("residual", 16, (6, 8), 8, 4, ATTRIBUTES, BINARY_ATTRIBUTES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Features("tiny-judge", build(config))


def images(count: int, side: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def random_inception() -> Inception2015:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Inception2015()
        for name, value in network.named_buffers():
            if name.endswith("running_mean"):
                value.copy_(torch.randn_like(value) * 0.1)
            if name.endswith("running_var"):
                value.copy_(torch.rand_like(value) + 0.5)
    return network


def test_inception_is_that_of_torch_fidelity(tmp_path):
    theirs_of = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    ours = random_inception()
    torch.save(ours.state_dict(), tmp_path / "inception.pth")
    theirs = theirs_of("inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(tmp_path / "inception.pth"))
    u8 = torch.randint(0, 256, (2, 3, 64, 48), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.no_grad():
        expected, found = theirs(u8), ours(u8.float())
    for one, other in zip(expected, found):
        assert torch.allclose(one, other, atol=1e-4 * one.abs().max())


def test_inception_resizes_as_tensorflow_did():
    ramp = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    out = resized(ramp, 8)
    assert torch.allclose(out[0, 0, 0], torch.tensor([0, 0.5, 1, 1.5, 2, 2.5, 3, 3])) and torch.equal(resized(ramp, 4), ramp)


def test_inception_weights_are_found_by_name_or_file_and_named_for_what_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("INVERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(WeightsNotFoundError, match=r"6726825d.*frechet"):
        load_detector("inception")
    network = random_inception()
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    detector = load_detector(str(tmp_path / "mine.pth"))
    assert detector.is_inception and detector.name == "inception of mine.pth"
    seen = detector.look(images(1))
    assert seen.vectors.shape == (1, 2048) and torch.allclose(seen.classes.sum(), torch.tensor(1.0).double())
    with torch.no_grad():
        assert torch.allclose(seen.vectors, network(whole_values(images(1)))[0], atol=1e-4)
    broken = network.state_dict()
    del broken["fc.weight"]
    torch.save(broken, tmp_path / "broken.pth")
    with pytest.raises(Exception, match=r"fc\.weight"):
        load_detector(str(tmp_path / "broken.pth"))


class Script(torch.nn.Module):
    def forward(self, images, return_features: bool = False, no_output_bias: bool = False):
        x = images.float().mean(dim=(2, 3)) / 255
        return x if return_features else x.softmax(dim=1)


def test_a_torchscript_detector_runs_only_when_its_hash_is_given(tmp_path):
    path = tmp_path / "detector.pt"
    torch.jit.script(Script()).save(str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for wrong in (None, "0" * 64):
        with pytest.raises(UsageError, match=digest):
            load_detector(str(path), trusted_sha256=wrong)
    detector = load_detector(str(path), trusted_sha256=digest)
    assert (detector.name, detector.is_inception, detector.has_classes) == ("detector", False, True)
    seen = detector.look(images(4))
    assert torch.allclose(seen.vectors, whole_values(images(4)).mean(dim=(2, 3)) / 255) and seen.classes.shape == (4, 3)


def test_fid_is_asked_of_inception_only(judge):
    generator = tiny_generator()
    for name, instead in (("fid", "frechet"), ("kid", "kernel"), ("is", "class-score")):
        with pytest.raises(UsageError, match=f"{name} is a figure of an Inception network, and tiny-judge is none: ask for {instead}"):
            measure_generator(generator, judge, names=[name], count=10)
    network = torch.nn.Module()
    weight = torch.nn.Parameter(torch.randn(48, 7, generator=torch.Generator().manual_seed(0)) / 255)
    network.weight = weight
    network.forward = lambda x: ((pooled := torch.nn.functional.avg_pool2d(x, 4).flatten(1) @ weight), pooled)  # type: ignore[assignment]
    looking = Looking(judge, inception_detector(network, "0" * 64))
    report = measure_generator(generator, looking, names=["fid", "kid", "is"], count=20)
    assert set(report["metrics"]) == {"fid", "kid", "is"} and report["detector"] == "inception" and "attributes" not in report
    assert report["metrics"]["fid"]["samples"] > report["metrics"]["fid"]["floor"]


def test_a_module_of_ones_own_has_its_own_name_and_no_classes(judge):
    mine = Detector("mine", "", lambda x: Seen(x.mean(dim=(2, 3))))
    report = measure_generator(tiny_generator(), Looking(judge, mine), names=["frechet", "recall", "ppl-w"], count=12)
    assert report["detector"] == "mine" and report["generator"]["ppl-w-full"]["measured_in"] == "tiny-judge"
    with pytest.raises(UsageError, match="mine tells none"):
        measure_generator(tiny_generator(), Looking(judge, mine), names=["class-score"], count=12)


def test_a_stream_is_the_same_in_any_pieces_and_merges(judge):
    wanted = Wanted(judge_detector(judge), judge, classes=True, similarity=False)
    x = images(30)
    whole, pieces = (observe_detected(wanted, x.split(size), ("x", 30)) for size in (30, 7))
    assert len(whole) == 30 and torch.allclose(whole.pooled, pieces.pooled, atol=1e-6)
    assert torch.allclose(whole.gathered_moments().covariance, pieces.gathered_moments().covariance, atol=1e-9)
    parts = [observe_detected(wanted, [part], ("x", 30)) for part in x.split(11)]
    joined = Observed.cat(parts)
    assert frechet_distance(joined.gathered_moments(), whole.gathered_moments()) == pytest.approx(0, abs=1e-9)
    assert torch.allclose(joined.classes, whole.classes, atol=1e-6) and list(joined.attributes) == list(ATTRIBUTES)
    lean = observe_detected(Wanted(judge_detector(judge), vectors=False), x.split(8), ("x", 30))
    assert lean.pooled.shape == (0, 8) and len(lean) == 30 and not lean.attributes
    with pytest.raises(UsageError, match="only their moments"):
        lean.vectors()


def test_the_cache_gives_back_what_was_seen_and_nothing_else(judge, tmp_path):
    data = portraits(40, 16, seed=5)
    wanted = Wanted(judge_detector(judge), judge, classes=True)
    cache = StatisticsCache("forty portraits", tmp_path)
    path = cache.path(detector="a", first=0, last=40, needs=wanted.kept())
    assert cache.load(path) is None
    seen = observe_detected(wanted, pictures(data, 0, 40), ("data", 40))
    cache.store(path, seen)
    held = cache.load(path)
    assert torch.equal(held.pooled, seen.pooled) and held.moments.count == 40 and held.binary == seen.binary
    assert torch.equal(held.moments.scatter, seen.moments.scatter) and torch.equal(held.classes, seen.classes)
    others = [StatisticsCache("other", tmp_path).path(detector="a", first=0, last=40, needs=wanted.kept())]
    others += [cache.path(detector="b", first=0, last=40, needs=wanted.kept()), cache.path(detector="a", first=0, last=39, needs=[])]
    assert len({path, *others}) == 4
    path.write_bytes(path.read_bytes()[:100])
    assert cache.load(path) is None


def test_a_report_with_a_warm_cache_is_the_same_and_draws_no_portraits(judge, tmp_path, monkeypatch):
    looking = Looking(judge, cache=StatisticsCache("", tmp_path))
    first = measure_generator(tiny_generator(), looking, count=12)
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr("stylegan_core.metrics.report.pictures", lambda *_: pytest.fail("the data were looked at again"))
    again = measure_generator(tiny_generator(), looking, count=12)
    assert {**first, "seconds": 0} == {**again, "seconds": 0}


def test_identities_change_with_the_data(tmp_path):
    (tmp_path / "a.png").write_bytes(b"1")
    first = identity_of_path(tmp_path)
    (tmp_path / "notes.txt").write_bytes(b"1")
    assert identity_of_path(tmp_path) == first
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert identity_of_path(tmp_path) != first and identity_of_path(tmp_path / "a.png") != first
    assert identity_of_portraits(0, 64) != identity_of_portraits(1, 64)


RANKED = """
import sys, torch, torch.distributed as dist
from pathlib import Path
from stylegan_core.data.images import portraits
from stylegan_core.metrics.detectors import Detector, Seen
from stylegan_core.metrics.observed import own_share
from stylegan_core.metrics.observing import Wanted, observe_detected
from stylegan_core.metrics.report import pictures
rank, folder = int(sys.argv[1]), Path(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
look = Detector("mean", "", lambda x: Seen(x.mean(dim=(2, 3))))
share = own_share(0, 13)
seen = observe_detected(Wanted(look), pictures(portraits(13, 16, seed=4), *share), ("data", 13))
torch.save({"share": share, "pooled": seen.pooled, "mean": seen.moments.mean, "scatter": seen.moments.scatter}, folder / f"{rank}.pt")
"""


def test_two_processes_see_what_one_sees(tmp_path):
    words = [sys.executable, "-c", RANKED]
    processes = [subprocess.Popen([*words, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [process.wait(timeout=600) for process in processes] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    look = Detector("mean", "", lambda x: Seen(x.mean(dim=(2, 3))))
    alone = observe_detected(Wanted(look), pictures(portraits(13, 16, seed=4), 0, 13), ("data", 13))
    assert first["share"] == (0, 6) and second["share"] == (6, 13) and own_share(0, 13) == (0, 13)
    for found in (first, second):
        assert torch.equal(found["pooled"], alone.pooled) and torch.allclose(found["scatter"], alone.moments.scatter, atol=1e-12)
        assert torch.allclose(found["mean"], alone.moments.mean, atol=1e-12)
