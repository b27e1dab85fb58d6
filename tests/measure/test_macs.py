"""MACs and activations: hand-worked layers, the published figures, and two counters that must agree."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import bench.models  # noqa: F401  (makes timm importable)
from bench.measure.macs import MacCount, count_macs, training_macs
from bench.measure.macs.handlers import contraction_cost

REFERENCES = Path(__file__).parents[3] / "shared" / "refs" / "published.toml"

# pytorch-image-models, results/benchmark-infer-amp-nhwc-pt240-cu124-rtx4090.csv, 1000 classes:
# image size, GMACs, activations in millions.
PUBLISHED = {
    "vgg19": (224, 19.63, 14.86),
    "vgg19_bn": (224, 19.66, 14.86),
    "densenet121": (224, 2.87, 6.90),
    "densenet201": (224, 4.34, 7.85),
    "deit_tiny_distilled_patch16_224": (224, 1.27, 6.01),
    "deit_small_distilled_patch16_224": (224, 4.63, 12.02),
    "deit_base_distilled_patch16_224": (224, 17.68, 24.05),
    "vit_tiny_patch16_224": (224, 1.26, 5.97),
    "vit_base_patch16_224": (224, 17.58, 23.90),
    "pit_s_224": (224, 2.88, 11.56),
    "swin_tiny_patch4_window7_224": (224, 4.51, 17.06),
    # The same table, one model of each further kind: residual, scaled, mobile, hybrid, mixer, windowed, hierarchical.
    "resnet50": (224, 4.11, 11.11),
    "efficientnet_b3": (288, 1.63, 21.49),
    "nfnet_l0": (224, 4.36, 10.47),
    "convnext_tiny": (224, 4.47, 13.44),
    "inception_v3": (299, 5.73, 8.97),
    "mobilenetv4_hybrid_medium": (224, 0.98, 6.84),
    "levit_256": (224, 1.13, 4.23),
    "fastvit_sa12": (256, 1.96, 14.03),
    "resmlp_24_224": (224, 5.96, 10.91),
    "gmlp_s16_224": (224, 4.42, 15.10),
    "coatnet_0_rw_224": (224, 4.43, 18.73),
    "swinv2_tiny_window8_256": (256, 5.96, 24.57),
    "xcit_small_12_p16_224": (224, 4.82, 12.58),
    "volo_d1_224": (224, 6.94, 24.43),
    "mvitv2_tiny": (224, 4.70, 21.16),
    "eva02_tiny_patch14_224": (224, 1.70, 9.14),
    "poolformer_s12": (224, 1.82, 5.53),
}


def timm_model(name: str) -> nn.Module:
    """A timm model with 1000 classes, without weights."""
    import timm

    with torch.device("meta"):
        model: nn.Module = timm.create_model(name)
    return model


class Calls(nn.Module):
    """A model of one call, so that single operators can be counted."""

    def __init__(self, call: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.call = call

    def forward(self, images: Tensor) -> Any:
        return self.call(images)


def count_call(call: Callable[[Tensor], Any], image_size: int = 8) -> MacCount:
    """What `call` of images (1, 3, image_size, image_size) takes, both counters agreeing."""
    counted = count_macs(Calls(call), image_size)
    assert counted.cross_check.difference == 0
    return counted


def random(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


class TestLayersWorkedOutByHand:
    @pytest.mark.parametrize(
        ("convolution", "macs", "activations"),
        [
            pytest.param(nn.Conv2d(3, 8, 3, padding=1), 3 * 8 * 9 * 16**2, 8 * 16**2, id="plain"),
            pytest.param(nn.Conv2d(3, 8, 3), 3 * 8 * 9 * 14**2, 8 * 14**2, id="without padding"),
            pytest.param(nn.Conv2d(3, 8, 3, stride=2, padding=1), 3 * 8 * 9 * 8**2, 8 * 8**2, id="stride"),
            pytest.param(nn.Conv2d(3, 8, 3, dilation=3), 3 * 8 * 9 * 10**2, 8 * 10**2, id="dilation"),
            pytest.param(nn.Conv2d(3, 9, 3, groups=3, padding=1), 1 * 9 * 9 * 16**2, 9 * 16**2, id="groups"),
            pytest.param(nn.Conv2d(3, 3, 5, groups=3, padding=2), 3 * 25 * 16**2, 3 * 16**2, id="depthwise"),
            pytest.param(nn.Conv2d(3, 8, 4, padding="same"), 3 * 8 * 16 * 16**2, 8 * 16**2, id="padding is a word"),
            pytest.param(nn.Conv2d(3, 8, (1, 16), bias=False), 3 * 8 * 16 * 16, 8 * 16, id="not square"),
            pytest.param(nn.ConvTranspose2d(3, 8, 2, stride=2), 3 * 8 * 4 * 16**2, 8 * 32**2, id="transposed"),
        ],
    )
    def test_convolution(self, convolution: nn.Module, macs: int, activations: int) -> None:
        counted = count_macs(convolution, 16)
        assert counted.by_operator == {"conv": macs}
        assert counted.activations == activations
        assert counted.cross_check.macs == macs

    def test_linear_meets_each_position(self) -> None:
        counted = count_macs(nn.Linear(16, 5), 16)  # 3 × 16 rows of 16
        assert counted.by_operator == {"linear": 48 * 16 * 5}
        assert counted.activations == 48 * 5
        assert counted.flops == 2 * counted.macs

    def test_one_image_without_a_batch_dimension(self) -> None:
        weight = random(8, 3, 3, 3)
        assert count_call(lambda images: F.conv2d(images[0], weight, padding=1)).macs == 3 * 8 * 9 * 8**2

    @pytest.mark.parametrize(
        ("query", "key", "value", "options", "scores"),
        [
            pytest.param((2, 4, 10, 8), (2, 4, 10, 8), (2, 4, 10, 8), {}, 2 * 4 * 10 * 10, id="self"),
            pytest.param((2, 4, 10, 8), (2, 4, 7, 8), (2, 4, 7, 6), {}, 2 * 4 * 10 * 7, id="lengths differ"),
            pytest.param((2, 4, 10, 8), (2, 2, 7, 8), (2, 2, 7, 8), {"enable_gqa": True}, 2 * 4 * 10 * 7, id="grouped"),
            pytest.param(
                (2, 4, 10, 8), (2, 4, 7, 8), (2, 4, 7, 8), {"attn_mask": (10, 7)}, 2 * 4 * 10 * 7, id="masked"
            ),
            pytest.param(
                (2, 4, 10, 8), (2, 4, 10, 8), (2, 4, 10, 8), {"is_causal": True}, 2 * 4 * 10 * 10, id="causal"
            ),
            pytest.param((2, 4, 10, 8), (1, 4, 7, 8), (1, 1, 7, 8), {}, 2 * 4 * 10 * 7, id="batch broadcast"),
            pytest.param((10, 8), (7, 8), (7, 8), {}, 10 * 7, id="one head alone"),
        ],
    )
    def test_attention_is_two_products(
        self, query: Any, key: Any, value: Any, options: dict[str, Any], scores: int
    ) -> None:
        if "attn_mask" in options:
            options = {"attn_mask": random(*options["attn_mask"])}
        factors = random(*query), random(*key), random(*value)
        counted = count_call(lambda images: F.scaled_dot_product_attention(*factors, **options))
        assert counted.by_operator == {"scaled_dot_product_attention": scores * (query[-1] + value[-1])}
        assert counted.activations == scores + scores // key[-2] * value[-1]

    def test_batch_norm_costs_two_an_element_and_layer_norm_five(self) -> None:
        assert count_macs(nn.BatchNorm2d(3), 16).by_operator == {"batch_norm": 2 * 3 * 16**2}
        assert count_macs(nn.BatchNorm2d(3, affine=False), 16).by_operator == {"batch_norm": 3 * 16**2}
        assert count_macs(nn.LayerNorm(16), 16).by_operator == {"layer_norm": 5 * 3 * 16**2}
        assert count_macs(nn.BatchNorm2d(3), 16).activations == 0

    @pytest.mark.parametrize(
        ("call", "name", "macs"),
        [
            (lambda images: torch.matmul(random(7, 8), random(5, 8, 6)), "matmul", 5 * 7 * 8 * 6),
            (lambda images: random(4, 1, 7, 8) @ random(5, 8, 6), "matmul", 4 * 5 * 7 * 8 * 6),
            (lambda images: random(7, 8) @ random(8), "matmul", 7 * 8),
            (lambda images: torch.mm(random(7, 8), random(8, 6)), "mm", 7 * 8 * 6),
            (lambda images: torch.bmm(random(5, 7, 8), random(5, 8, 6)), "bmm", 5 * 7 * 8 * 6),
            (lambda images: torch.addmm(random(6), random(7, 8), random(8, 6)), "addmm", 7 * 8 * 6),
            (lambda images: torch.baddbmm(random(1), random(5, 7, 8), random(5, 8, 6)), "baddbmm", 5 * 7 * 8 * 6),
            (lambda images: torch.addbmm(random(7, 6), random(5, 7, 8), random(5, 8, 6)), "addbmm", 5 * 7 * 8 * 6),
            (lambda images: torch.tensordot(random(7, 8, 9), random(8, 9, 6), 2), "tensordot", 7 * 8 * 9 * 6),
            (lambda images: torch.einsum("bhqd, bhkd -> bhqk", images, images), "einsum", 3 * 8 * 8 * 8),
        ],
    )
    def test_matrix_products(self, call: Callable[[Tensor], Any], name: str, macs: int) -> None:
        assert count_call(call).by_operator == {name: macs}

    @pytest.mark.parametrize(
        ("equation", "shapes", "macs", "activations"),
        [
            ("ij,jk->ik", [(2, 3), (3, 5)], 30, 10),
            ("ij,jk", [(2, 3), (3, 5)], 30, 10),
            ("...ij,...kj->...ik", [(4, 2, 3), (4, 5, 3)], 120, 40),
            ("bij,bjk->ik", [(4, 2, 3), (4, 3, 5)], 120, 10),
            ("ij,jk,kl->il", [(2, 3), (3, 5), (5, 7)], 2 * 3 * 5 + 2 * 5 * 7, 10 + 14),
            ("ij,ij->ij", [(2, 3), (2, 3)], 0, 0),
            ("ij->ji", [(2, 3)], 0, 0),
        ],
    )
    def test_einsum(self, equation: str, shapes: list[tuple[int, ...]], macs: int, activations: int) -> None:
        assert contraction_cost(equation, shapes) == (macs, activations)

    def test_einsum_follows_a_given_path(self) -> None:
        shapes = [(2, 3), (3, 5), (5, 7)]
        assert contraction_cost("ij,jk,kl->il", shapes, [1, 2, 0, 1]).macs == 3 * 5 * 7 + 2 * 3 * 7

    def test_recurrent_layers_meet_every_step(self) -> None:
        class Rows(nn.Module):
            """Each channel's rows as a sequence."""

            def __init__(self) -> None:
                super().__init__()
                self.lstm = nn.LSTM(8, 6, bidirectional=True, batch_first=True)

            def forward(self, images: Tensor) -> Any:
                return self.lstm(images[0])

        counted = count_macs(Rows(), 8)
        assert counted.by_operator == {"lstm": 2 * 3 * 8 * (24 * 8 + 24 * 6)}
        assert counted.cross_check.agrees

    @pytest.mark.parametrize("looks_at_numbers", [False, True])
    def test_an_encoder_layer_has_no_hidden_fast_path(self, looks_at_numbers: bool) -> None:
        class Encoder(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

            def forward(self, images: Tensor) -> Any:
                if looks_at_numbers:
                    images = images + images.sum().item()
                return self.layer(images.flatten(0, 1))  # 3 sequences of 16 tokens

        counted = count_macs(Encoder(), 16)
        assert counted.by_operator["linear"] == 3 * 16 * (4 * 16 * 16 + 2 * 16 * 32)
        assert counted.by_operator["scaled_dot_product_attention"] == 3 * 2 * 16 * 16 * 8 * 2
        assert counted.cross_check.agrees


class TestTheCountAsAWhole:
    def test_operators_and_modules_add_up(self) -> None:
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(nn.BatchNorm2d(8), nn.GELU()), nn.Conv2d(8, 4, 1))
        counted = count_macs(model, 10)
        first, norm, second = 3 * 8 * 9 * 64, 2 * 8 * 64, 8 * 4 * 64
        assert counted.macs == first + norm + second
        assert counted.by_operator == {"conv": first + second, "batch_norm": norm}
        assert counted.by_module == {"": counted.macs, "0": first, "1": norm, "1.0": norm, "2": second}
        assert counted.cross_check.fvcore_macs == first + second

    def test_what_no_handler_knows_is_listed(self) -> None:
        counted = count_call(lambda images: torch.cdist(F.gelu(images), F.gelu(images)))
        assert counted.uncounted_operators == {"gelu": 2, "cdist": 1}

    def test_a_disagreement_is_carried(self) -> None:
        # A product that only the second counter knows.
        counted = count_macs(Calls(lambda images: torch.linalg.multi_dot([images[0, 0]] * 3)), 8)
        assert counted.uncounted_operators == {"linalg_multi_dot": 1}
        assert counted.cross_check.fvcore_macs == 0
        assert counted.cross_check.macs == 2 * 8**3
        assert not counted.cross_check.agrees

    def test_it_is_ready_for_json(self) -> None:
        counted = count_macs(nn.Conv2d(3, 8, 3), 10)
        assert json.loads(json.dumps(asdict(counted)))["cross_check"]["agrees"] is True

    def test_other_numbers_of_channels(self) -> None:
        assert count_macs(nn.Conv2d(1, 8, 3), 10, channels=1).macs == 8 * 9 * 64

    def test_the_model_is_left_as_it_was(self) -> None:
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Flatten(), nn.Linear(512, 4))
        model(torch.zeros(2, 3, 10, 10)).sum().backward()
        model[0].requires_grad_(False)
        model[1].eval()
        model[0].register_forward_hook(lambda module, inputs, output: None)
        state = copy.deepcopy(model.state_dict())
        gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
        hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
        random_state = torch.get_rng_state()

        count_macs(model, 10)
        training_macs(model, 10)

        assert [module.training for module in model] == [True, False, True, True, True]
        assert [p.requires_grad for p in model.parameters()] == [False, False, True, True, True, True]
        assert hooks == [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
        assert all(p.device.type == "cpu" for p in model.parameters())
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(tensor, state[name], rtol=0, atol=0)
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            assert (parameter.grad is None) == (gradient is None)
            assert gradient is None or torch.equal(parameter.grad, gradient)
        assert torch.equal(torch.get_rng_state(), random_state)
        assert torch.backends.mha.get_fastpath_enabled()

    def test_a_model_that_looks_at_its_numbers_is_counted_too(self) -> None:
        class LooksAtNumbers(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.convolution, self.lstm = nn.Conv2d(3, 8, 1), nn.LSTM(8, 6, batch_first=True)

            def forward(self, images: Tensor) -> Any:
                features = self.convolution(images)
                scale = 2.0 if features.sum().item() > 0 else 1.0
                return self.lstm(F.dropout(features.flatten(0, 1) * scale, training=self.training))[0]

        model = LooksAtNumbers()
        before = torch.get_rng_state()
        counted = count_macs(model, 8)
        convolution, recurrent = 3 * 8 * 64, 64 * 24 * (8 + 6)  # 8 sequences of 8 steps
        assert counted.by_operator == {"lstm": recurrent, "conv": convolution}
        assert counted.cross_check.agrees
        first_states = 8 * 24 * 6  # need no gradient
        assert training_macs(model, 8) == 2 * convolution + 3 * recurrent - first_states
        assert torch.equal(torch.get_rng_state(), before)

    def test_half_precision_counts_the_same(self) -> None:
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        assert count_macs(copy.deepcopy(model).half(), 10) == count_macs(model, 10)

    def test_what_the_model_refuses_is_said(self) -> None:
        with pytest.raises(RuntimeError, match="channels"):
            count_macs(nn.Conv2d(4, 8, 3), 10)


class TestTrainingMacs:
    def model(self) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(288, 4)
        )

    FIRST, SECOND, LAST = 3 * 8 * 9 * 64, 8 * 9 * 36, 288 * 4

    def test_a_step_is_three_forward_passes_less_the_gradient_of_the_images(self) -> None:
        assert training_macs(self.model(), 10) == 2 * self.FIRST + 3 * self.SECOND + 3 * self.LAST

    def test_a_frozen_layer_saves_its_weights_gradient(self) -> None:
        model = self.model()
        model[2].requires_grad_(False)
        assert training_macs(model, 10) == 2 * self.FIRST + 2 * self.SECOND + 3 * self.LAST

    def test_below_the_first_trainable_layer_nothing_runs_backward(self) -> None:
        model = self.model()
        model[0].requires_grad_(False)
        model[2].requires_grad_(False)
        assert training_macs(model, 10) == self.FIRST + self.SECOND + 2 * self.LAST

    def test_all_frozen_is_the_forward_pass(self) -> None:
        assert training_macs(self.model().requires_grad_(False), 10) == self.FIRST + self.SECOND + self.LAST

    def test_transposed_convolutions(self) -> None:
        model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2))
        assert training_macs(model, 8) == 2 * 3 * 4 * 64 + 3 * 4 * 3 * 4 * 64

    def test_batch_norm_at_a_single_position_trains(self) -> None:
        model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8))
        assert training_macs(model, 8) == 2 * 3 * 8

    def test_attention_runs_four_products_backward(self) -> None:
        class Attention(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.queries = nn.Parameter(torch.zeros(2, 4, 5, 8))

            def forward(self, images: Tensor) -> Tensor:
                queries = self.queries[: len(images)]
                return F.scaled_dot_product_attention(queries, queries, queries)

        assert training_macs(Attention(), 8) == 3 * 4 * 5 * 5 * (8 + 8)

    def test_several_outputs_all_train(self) -> None:
        class TwoHeads(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.second = nn.Linear(8, 2), nn.Linear(8, 3)

            def forward(self, images: Tensor) -> dict[str, Any]:
                return {"a": self.first(images), "b": (self.second(images), 1.0)}

        assert training_macs(TwoHeads(), 8) == 2 * 3 * 8 * 8 * (2 + 3)


class TestPublishedFigures:
    @pytest.mark.parametrize("name", PUBLISHED)
    def test_macs_and_activations_within_one_percent(self, name: str) -> None:
        size, giga_macs, mega_activations = PUBLISHED[name]
        counted = count_macs(timm_model(name), size)
        # Half a unit of the last digit printed is not an error of ours.
        assert counted.macs / 1e9 == pytest.approx(giga_macs, rel=0.01, abs=0.005)
        assert counted.activations / 1e6 == pytest.approx(mega_activations, rel=0.01, abs=0.005)
        assert counted.cross_check.agrees

    def test_this_files_copy_is_the_reference(self) -> None:
        if not REFERENCES.exists():
            pytest.skip(f"no {REFERENCES.name} beside this checkout")
        published = tomllib.loads(REFERENCES.read_text())["timm"]
        assert len(published) == 11
        assert {name: PUBLISHED[name] for name in published} == {
            name: (size, macs, activations) for name, (size, _, macs, activations) in published.items()
        }

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
    def test_fused_attention_changes_nothing(self, name: str) -> None:
        from timm.layers import set_fused_attn, use_fused_attn

        before = use_fused_attn()
        counts = []
        try:
            for fused in (True, False):
                set_fused_attn(fused)
                counts.append(count_macs(timm_model(name), 224))
        finally:
            set_fused_attn(before)
        assert counts[0].macs == counts[1].macs
        assert counts[0].activations == counts[1].activations

    def test_convolutions_linear_layers_and_attention_are_told_apart(self) -> None:
        counted = count_macs(timm_model("vit_tiny_patch16_224"), 224).by_operator
        assert counted["scaled_dot_product_attention"] == 12 * 2 * 197 * 197 * 192
        assert counted["conv"] == 3 * 16 * 16 * 192 * 14 * 14
        assert counted["linear"] == 12 * 197 * 12 * 192 * 192 + 192 * 1000

    def test_same_padding_is_counted_although_the_published_figure_leaves_it_out(self) -> None:
        """fvcore knows no `_convolution_mode`: ConvMixer's published 5.55 GMACs lack its depthwise convolutions."""
        counted = count_macs(timm_model("convmixer_1024_20_ks9_p14"), 224)
        depthwise = 20 * 1024 * 9 * 9 * 16 * 16
        assert (counted.macs - depthwise) / 1e9 == pytest.approx(5.55, rel=0.01)
        assert counted.cross_check.agrees


# --- Random small networks: the two counters see the same -------------------------------------------------


class RandomAttention(nn.Module):
    """Tokens from pixels, then attention with grouped heads, a mask, or keys of another length."""

    def __init__(self, channels: int, heads: int, groups: int, width: int, keys: int | None, mask: str) -> None:
        super().__init__()
        self.heads, self.key_heads, self.width, self.keys, self.mask = heads, heads // groups, width, keys, mask
        self.query = nn.Linear(channels, heads * width)
        self.key_value = nn.Linear(channels, 2 * self.key_heads * width)
        self.out = nn.Linear(heads * width, channels)

    def forward(self, features: Tensor) -> Tensor:
        tokens = features.flatten(2).transpose(1, 2)
        batch, length = tokens.shape[:2]
        source = tokens if self.keys is None else tokens[:, : self.keys]
        query = self.query(tokens).reshape(batch, length, self.heads, self.width).transpose(1, 2)
        pair = self.key_value(source).reshape(batch, source.shape[1], 2, self.key_heads, self.width)
        key, value = pair.permute(2, 0, 3, 1, 4).unbind(0)
        mask = torch.zeros(length, source.shape[1], device=tokens.device) if self.mask == "given" else None
        attended = F.scaled_dot_product_attention(
            query, key, value, mask, is_causal=self.mask == "causal", enable_gqa=self.heads != self.key_heads
        )
        return self.out(attended.transpose(1, 2).flatten(2)).transpose(1, 2).reshape(features.shape)


@st.composite
def convolutions(draw: st.DrawFn, channels: int) -> tuple[nn.Module, int]:
    groups = draw(st.sampled_from([g for g in (1, 2, 4, channels) if channels % g == 0]))
    result = groups * draw(st.integers(1, 3))
    kernel, dilation, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    if draw(st.booleans()) and stride == 1:
        return nn.Conv2d(channels, result, kernel, padding="same", dilation=dilation, groups=groups), result
    if draw(st.integers(0, 3)) == 0:
        return nn.ConvTranspose2d(channels, result, kernel, stride, groups=groups), result
    padding = dilation * (kernel - 1)
    bias = draw(st.booleans())
    return nn.Conv2d(channels, result, kernel, stride, padding, dilation, groups, bias), result


@st.composite
def attentions(draw: st.DrawFn, channels: int) -> tuple[nn.Module, int]:
    heads = draw(st.sampled_from([1, 2, 4]))
    groups = draw(st.sampled_from([g for g in (1, 2, 4) if heads % g == 0]))
    keys = draw(st.none() | st.integers(1, 3))
    mask = draw(st.sampled_from(["none", "given", "causal"]))
    return RandomAttention(channels, heads, groups, draw(st.integers(1, 8)), keys, mask), channels


@st.composite
def networks(draw: st.DrawFn) -> nn.Sequential:
    channels, layers = 3, []
    for kind in draw(st.lists(st.sampled_from(["convolution", "attention", "norm"]), min_size=1, max_size=4)):
        if kind == "norm":
            layers.append(nn.Sequential(nn.BatchNorm2d(channels), nn.GELU()))
        else:
            layer, channels = draw((convolutions if kind == "convolution" else attentions)(channels))
            layers.append(layer)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(network=networks(), image_size=st.integers(3, 9))
def test_two_counters_agree_on_random_networks(network: nn.Sequential, image_size: int) -> None:
    counted = count_macs(network, image_size)
    assert counted.cross_check.difference == 0
    assert counted.cross_check.agrees
    assert counted.macs == sum(counted.by_operator.values()) == counted.by_module[""]
    # Backward, the weights take as much as the forward pass and the inputs at most as much again.
    assert 2 * counted.cross_check.macs <= training_macs(network, image_size) <= 3 * counted.cross_check.macs
