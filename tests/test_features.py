"""Cached features are what the network computes, and the probe on them is the first forward pass of a network that starts from it."""

import numpy as np
import torch
from tiny import RECIPE, TinyEncoder, tiny_material

from thaw.backbones import Network, build_backbone
from thaw.features import extract
from thaw.finetune import predict
from thaw.heads import Part, fit_logistic
from thaw.views import evaluation_view, normalise


def test_order_and_values_are_those_of_single_images() -> None:
    encoder, view = TinyEncoder(), tiny_material().view
    told: list[int] = []
    X = extract(encoder, view, RECIPE, 10, told.append)
    encoder.eval()
    with torch.inference_mode():
        alone = np.concatenate([encoder(normalise(view[row : row + 1], RECIPE)).numpy() for row in range(len(view))])
    np.testing.assert_allclose(X, alone, atol=1e-6)
    assert X.dtype == np.float32 and sum(told) == len(view)


def test_a_training_encoder_is_put_into_evaluation_mode() -> None:
    encoder, view = TinyEncoder().train(), tiny_material().view
    before = encoder.bn.running_mean.clone()  # type: ignore[union-attr]
    first, again = (extract(encoder, view, RECIPE, 16, lambda n: None) for _ in range(2))
    assert (first == again).all() and torch.equal(encoder.bn.running_mean, before)  # type: ignore[arg-type]


def test_probe_equals_first_forward_pass_of_lp_ft() -> None:
    """Real weights, float32: a head fitted on cached features and put on the network gives the same logits to 1e-4 of their scale."""
    images = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 1), dtype=np.uint8)
    backbone = build_backbone("lite0", 64)
    view = evaluation_view(images, backbone.recipe)
    X = extract(backbone.encoder, view, backbone.recipe, 32, lambda n: None)
    y = np.arange(40) % 2
    head = fit_logistic(Part(X[:30], y[:30]), Part(X[30:], y[30:]), [1e-2], "auc", 2).head
    assert head is not None
    network = Network(backbone.encoder, backbone.dim, 2)
    network.head.load_state_dict({"weight": torch.from_numpy(head.W), "bias": torch.from_numpy(head.b)})
    logits = predict(network, view, np.arange(40), backbone.recipe, batch_size=7)
    expected = head.logits(X)
    assert np.abs(logits - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())
