import numpy as np
import pytest
import torch
from accelerate import Accelerator

from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification, BilmaModel
from tests.conftest import tiny_config
from training.common.errors import InputError
from training.finetuning.classifier import balanced_weights, make_classifier
from training.inference.classify import predict
from training.texts.batches import IGNORED

NAMES = ["😍", "😭", "🤔"]
ONES = torch.ones(3)


@pytest.fixture
def pretrained(tmp_path, tokenizer):
    def pretrained(model_class=BilmaForMaskedLM, **changes):
        changes = {"vocab_size": len(tokenizer), "hidden_dropout_prob": 0, **changes}
        model_class(tiny_config(**changes)).save_pretrained(tmp_path / "bilma")
        return str(tmp_path / "bilma")

    return pretrained


@pytest.fixture
def batch(tokenizer):
    ids = torch.randint(5, len(tokenizer), (4, 9))
    mask = torch.ones_like(ids)
    mask[1, 6:] = mask[3, 4:] = 0
    mlm_labels = torch.where((torch.rand(4, 9) < 0.4) & mask.bool(), ids, IGNORED)
    return {"input_ids": ids * mask, "attention_mask": mask, "labels": torch.tensor([0, 2, 1, 2])}, mlm_labels


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("attend_to_padding", [True, False])
def test_one_encoder_carries_both_heads(pretrained, batch, tied, attend_to_padding):
    """The losses are those of the two published models on the same states."""
    path = pretrained(tie_word_embeddings=tied, attend_to_padding=attend_to_padding)
    model = make_classifier(path, NAMES, "cls", ONES, with_decoder=True).eval()
    inputs, mlm_labels = batch
    with torch.no_grad():
        label_loss, token_loss = model(**inputs, mlm_labels=mlm_labels)
    masked_lm = BilmaForMaskedLM.from_pretrained(path).eval()
    plain = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    assert label_loss / 4 == pytest.approx(model.classifier(**inputs).loss.item(), rel=1e-5)
    expected = masked_lm(**plain, labels=mlm_labels).loss.item()
    assert token_loss / (mlm_labels != IGNORED).sum() == pytest.approx(expected, rel=1e-5)
    words = model.classifier.bilma.embeddings.word_embeddings.weight
    assert (model.decoder.weight is words) == tied


def test_the_encoder_is_the_pretrained_one_and_the_head_is_new(pretrained):
    path = pretrained()
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        models.append(make_classifier(path, NAMES, "mean", ONES, with_decoder=False).classifier)
    encoder = BilmaModel.from_pretrained(path).state_dict()
    for model in models:
        assert all(torch.equal(tensor, encoder[name]) for name, tensor in model.bilma.state_dict().items())
        assert model.config.id2label == dict(enumerate(NAMES))
        assert model.config.pooling == model.classifier.pooling == "mean"
    assert not torch.equal(models[0].classifier.dense_1.weight, models[1].classifier.dense_1.weight)


@pytest.mark.parametrize(("asked", "used"), [(None, 0.2), (0.0, 0.0), (0.4, 0.4)])
def test_dropout_is_the_models_own_or_what_is_asked_for(pretrained, asked, used):
    model = make_classifier(pretrained(hidden_dropout_prob=0.2), NAMES, "mean", ONES, True, asked).classifier
    assert model.config.hidden_dropout_prob == used
    assert {layer.p for layer in model.modules() if isinstance(layer, torch.nn.Dropout)} == {used}


def test_a_bare_encoder_or_a_classifier_can_be_fine_tuned_too(pretrained):
    for model_class in (BilmaModel, BilmaForSequenceClassification):
        path = pretrained(model_class)
        assert make_classifier(path, NAMES, "cls", ONES, with_decoder=False).classifier.num_labels == 3
        lacks = r"not a whole BilmaForMaskedLM: it lacks decoder\.[a-z]+: give"
        with pytest.raises(InputError, match=f"{lacks} --mlm_weight 0, or start from a masked language model"):
            make_classifier(path, NAMES, "cls", ONES, with_decoder=True)
        with pytest.raises(InputError, match=f"{lacks} a --pooling other than mask, or start"):
            make_classifier(path, NAMES, "mask", ONES, with_decoder=False)
    with pytest.raises(InputError) as refusal:
        make_classifier(f"{path}/nowhere", NAMES, "cls", ONES, with_decoder=True)
    assert "--mlm_weight" not in str(refusal.value)


def test_labels_that_are_tokens_begin_as_the_words_of_the_masked_language_model(pretrained, tokenizer):
    path, tokens = pretrained(), [5, None, 7]
    model = make_classifier(path, NAMES, "mask", ONES, with_decoder=False, label_tokens=tokens).classifier.eval()
    ids = torch.tensor([[2, 9, 8, tokenizer.mask_token_id, 3], [2, 9, tokenizer.mask_token_id, 3, 0]])
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=ids.ne(0).int()).logits
        words = BilmaForMaskedLM.from_pretrained(path).eval()(input_ids=ids, attention_mask=ids.ne(0).int()).logits
    expected = torch.stack((words[0, 3], words[1, 2]))
    torch.testing.assert_close(logits[:, [0, 2]], expected[:, [5, 7]])


def test_class_weights_weigh_the_loss(pretrained, batch):
    path, inputs = pretrained(), batch[0]
    losses = []
    for weights in (ONES, torch.tensor([1.0, 1.0, 0.0])):
        torch.manual_seed(0)
        losses.append(make_classifier(path, NAMES, "cls", weights, with_decoder=False).eval()(**inputs)[0].item())
    only_others = inputs | {"labels": torch.tensor([0, IGNORED, 1, IGNORED])}
    torch.manual_seed(0)
    model = make_classifier(path, NAMES, "cls", ONES, with_decoder=False).eval()
    assert losses[1] == pytest.approx(model(**only_others)[0].item())
    assert losses[1] < losses[0]


def test_balanced_weights_are_those_of_scikit_learn():
    class_weight = pytest.importorskip("sklearn.utils.class_weight")
    labels = np.array([0, 0, 0, 2, 2, 3])
    weights = balanced_weights(labels, 5)
    assert weights[[0, 2, 3]].tolist() == pytest.approx(
        class_weight.compute_class_weight("balanced", classes=np.array([0, 2, 3]), y=labels).tolist()
    )
    assert weights[[1, 4]].tolist() == [0, 0]  # occur nowhere


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "mask"])
def test_guesses_do_not_depend_on_the_texts_beside(pretrained, tokenizer, pooling):
    model = make_classifier(pretrained(), NAMES, pooling, ONES, with_decoder=False).classifier
    random = np.random.default_rng(0)
    ids = [[2, *random.integers(5, len(tokenizer), length).tolist(), 3] for length in random.integers(1, 30, 40)]
    alone = torch.cat([model.eval()(torch.tensor([text])).logits for text in ids])
    model.classifier.out_proj.bias.data -= alone.mean(0)  # so that the texts differ in their guesses
    right = (alone - alone.mean(0)).argmax(-1).tolist()
    assert predict(Accelerator(cpu=True), model, ids, tokenizer).tolist() == right
    assert len(set(right)) > 1
