"""The NumPy twin of the model against what it must be: its own derivatives and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.reference import numpy_attention, numpy_layers
from tests.reference.models import Model, random_batch, random_weights, variable_shapes
from tests.reference.numpy_bert import forward, gradients

# Odd and all different, so that a swapped axis cannot go unseen.
BERT = Model(
    vocab_size=29,
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=17,
    max_position_embeddings=11,
    type_vocab_size=2,
)
NEZHA = Model(**{**vars(BERT), "use_relative_position": True})
MODELS = pytest.mark.parametrize("model", [BERT, NEZHA], ids=["bert", "nezha"])


def example(model: Model):
    return random_weights(model, seed=1), random_batch(model, 4, 7, 3, seed=2)


def loss_of(model, weights, batch) -> float:
    return forward(model, weights, batch).total_loss


@MODELS
@pytest.mark.parametrize("activation", sorted(numpy_layers.ACTIVATIONS))
def test_gradients_equal_central_differences(model, activation):
    """In three directions through each variable; rounding leaves eight digits."""
    model = Model(**{**vars(model), "hidden_act": activation})
    weights, batch = example(model)
    computed = gradients(model, weights, batch, forward(model, weights, batch))
    assert sorted(computed) == sorted(weights)
    random = np.random.RandomState(3)
    # Small enough to stay on one side of the kinks of relu.
    step = 1e-6
    for name, gradient in computed.items():
        assert gradient.shape == weights[name].shape
        for _ in range(3):
            direction = random.standard_normal(gradient.shape)
            losses = [
                loss_of(model, {**weights, name: weights[name] + sign * step * direction}, batch)
                for sign in (1, -1)
            ]
            difference = (losses[0] - losses[1]) / (2 * step)
            expected = float((gradient * direction).sum())
            assert difference == pytest.approx(expected, rel=1e-6, abs=1e-8), name


@MODELS
def test_each_element_of_the_embedding_gradients_is_right(model):
    """Element by element: a gradient in the wrong row could hide in a sum."""
    weights, batch = example(model)
    computed = gradients(model, weights, batch, forward(model, weights, batch))
    for name in variable_shapes(model):
        if not name.endswith("embeddings"):
            continue
        for index in np.ndindex(*computed[name].shape[:1]):
            moved = {**weights, name: weights[name].copy()}
            moved[name][index][0] += 1e-5
            above = loss_of(model, moved, batch)
            moved[name][index][0] -= 2e-5
            difference = (above - loss_of(model, moved, batch)) / 2e-5
            assert difference == pytest.approx(computed[name][index][0], rel=1e-5, abs=1e-8)


def test_gradients_are_zero_exactly_where_nothing_depends():
    """Positions past the sequence and words that do not occur, apart from the tied output."""
    weights, batch = example(BERT)
    batch = {**batch, "masked_lm_weights": np.zeros_like(batch["masked_lm_weights"])}
    computed = gradients(BERT, weights, batch, forward(BERT, weights, batch))
    assert not computed["bert/embeddings/position_embeddings"][7:].any()
    assert computed["bert/embeddings/position_embeddings"][:7].any(axis=1).all()
    unseen = np.setdiff1d(np.arange(BERT.vocab_size), batch["input_ids"])
    assert unseen.size > 0
    assert not computed["bert/embeddings/word_embeddings"][unseen].any()
    assert not computed["cls/predictions/output_bias"].any()


@pytest.mark.parametrize("length", [5, 70])
@pytest.mark.parametrize("with_relative", [False, True])
def test_attention_equals_plain_loops(length, with_relative):
    """The equations once more, one number at a time; 70 passes the clipping distance of 64."""
    heads, head_size, batch_size = 2, 4, 1
    random = np.random.RandomState(5)
    hidden = heads * head_size
    inputs = random.standard_normal((batch_size, length, hidden))
    input_mask = np.ones((batch_size, length))
    input_mask[0, -2:] = 0
    weights = {}
    for part in ("query", "key", "value"):
        weights[part + "/kernel"] = random.standard_normal((hidden, hidden))
        weights[part + "/bias"] = random.standard_normal(hidden)
    relative = None
    if with_relative:
        relative = numpy_attention.relative_positions(length, head_size)
    context, _ = numpy_attention.self_attention(inputs, input_mask, weights, "", heads, relative)

    def projected(part, row, head):
        start = head * head_size
        columns = slice(start, start + head_size)
        return (
            inputs[0, row] @ weights[part + "/kernel"][:, columns]
            + weights[part + "/bias"][columns]
        )

    def position(query_row, key_row):
        if not with_relative:
            return np.zeros(head_size)
        place = max(-64, min(64, key_row - query_row)) + 64
        return np.array(
            [
                (math.sin if column % 2 == 0 else math.cos)(
                    place / 10000 ** ((column - column % 2) / head_size)
                )
                for column in range(head_size)
            ]
        )

    for head in range(heads):
        keys = [projected("key", row, head) for row in range(length)]
        values = [projected("value", row, head) for row in range(length)]
        for query_row in (0, 1, length - 1):
            query = projected("query", query_row, head)
            scores = [
                query @ (keys[row] + position(query_row, row)) / math.sqrt(head_size)
                for row in range(length - 2)
            ]
            shares = [math.exp(score - max(scores)) for score in scores]
            expected = sum(
                share / sum(shares) * (values[row] + position(query_row, row))
                for row, share in enumerate(shares)
            )
            found = context[0, query_row, head * head_size : (head + 1) * head_size]
            np.testing.assert_allclose(found, expected, rtol=1e-10)


@MODELS
def test_padding_changes_nothing(model):
    """What stands in the padding, and how much of it there is, does not reach a real token."""
    weights, batch = example(model)
    before = forward(model, weights, batch)
    padding = batch["input_mask"] == 0
    assert padding.any()
    changed = {**batch, "input_ids": np.where(padding, 7, batch["input_ids"])}
    wider = dict(batch)
    for name in ("input_ids", "input_mask", "segment_ids"):
        wider[name] = np.pad(batch[name], [(0, 0), (0, 3)], mode="constant")
    for other in (changed, wider):
        after = forward(model, weights, other)
        assert after.total_loss == pytest.approx(before.total_loss, rel=1e-12)
        real = np.nonzero(batch["input_mask"])
        np.testing.assert_allclose(
            after.sequence_output[real], before.sequence_output[real], rtol=1e-9, atol=1e-12
        )


def test_losses_of_a_model_that_knows_nothing():
    """Equal logits cost ln V for a token and ln 2 for a pair; weight 0 costs nothing."""
    weights, batch = example(BERT)
    for name in weights:
        if name.startswith("cls/seq_relationship") or name.endswith("word_embeddings"):
            weights[name] = np.zeros_like(weights[name])
    weights["cls/predictions/output_bias"] = np.full(BERT.vocab_size, 0.3)
    outputs = forward(BERT, weights, batch)
    total_weight = batch["masked_lm_weights"].sum()
    share = total_weight / (total_weight + 1e-5)
    assert outputs.masked_lm_loss == pytest.approx(share * math.log(BERT.vocab_size), rel=1e-12)
    assert outputs.next_sentence_loss == pytest.approx(math.log(2), rel=1e-12)
    batch["masked_lm_weights"] = np.zeros_like(batch["masked_lm_weights"])
    assert forward(BERT, weights, batch).masked_lm_loss == 0.0


def test_nezha_lacks_only_the_position_table():
    assert set(variable_shapes(BERT)) - set(variable_shapes(NEZHA)) == {
        "bert/embeddings/position_embeddings"
    }
    base = Model(21128, 768, 12, 12, 3072, 512)
    sizes = [int(np.prod(shape)) for shape in variable_shapes(base).values()]
    assert len(sizes) == 206
    assert sum(sizes) == 102882442


def test_gelu():
    """Exact at 0 and far out, and nowhere further from its definition than the paper's plot."""
    inputs = np.linspace(-6, 6, 241)
    tanh_form, exact = numpy_layers.gelu(inputs), numpy_layers.gelu_exact(inputs)
    assert np.abs(tanh_form - exact).max() < 5e-4
    assert numpy_layers.gelu(np.array([0.0, 9.0, -9.0])) == pytest.approx([0.0, 9.0, 0.0])
    # 1 * Phi(1), from a table of the normal distribution.
    assert numpy_layers.gelu_exact(np.array([1.0]))[0] == pytest.approx(0.8413447, abs=1e-7)


def test_layer_norm_has_mean_beta_and_deviation_gamma():
    inputs = np.random.RandomState(0).standard_normal((3, 5, 8)) * 3 + 4
    output = numpy_layers.layer_norm(inputs, np.full(8, 2.0), np.full(8, -1.0), 1e-12)
    np.testing.assert_allclose(output.mean(axis=-1), -1.0, rtol=1e-9)
    np.testing.assert_allclose(output.std(axis=-1), 2.0, rtol=1e-9)
