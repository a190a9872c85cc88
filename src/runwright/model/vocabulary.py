"""The vectors of a checkpoint matched to the tokens of a tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from runwright.errors import ConfigError
from runwright.model.configuration import Embeddings, log, quiet_transformers, special_token_ids
from runwright.tokenizer.pretrained import open_saved

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_ROLES = ("unk_token", "pad_token", "cls_token", "sep_token", "mask_token", "bos_token", "eos_token")
_MIN_SAME = 0.5  # of the numbers: some of BERT's unused tokens may have got a meaning


def fit_vocabulary(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    *,
    name: str,
    source: str,
    revision: str | None,
    embeddings: Embeddings,
) -> set[str]:
    """Make the embeddings of a checkpoint fit a tokenizer; the names of parameters that are new in part.

    `by_number`: token 7 takes vector 7, so the tokenizer has to be the checkpoint's own; what it has beyond
    the checkpoint's tokens gets new vectors. `by_token`: a token takes the vector that the checkpoint has for
    it, whatever the number; special tokens that of the same role. The others are drawn from torch's global
    generator, with the mean and the standard deviation of the checkpoint's vectors in each dimension. A head
    that scores tokens follows.

    `source` is the folder or hub name behind `name`. Raises ConfigError where the numbers stand for other
    tokens, and where there is no tokenizer to look tokens up in.
    """
    if embeddings == "by_token":
        try:
            saved = open_saved(name, revision=revision)
        except ConfigError as error:
            raise ConfigError(f"model.embeddings: by_token asks the model's tokenizer; {error}") from error
        return _match_tokens(model, tokenizer, saved)
    num_embeddings = len(model.get_input_embeddings().get_parameter("weight"))
    if tokenizer.name_or_path != source:
        _check_numbers(tokenizer, name, revision, num_embeddings)
    if len(tokenizer) > num_embeddings:
        with quiet_transformers():
            model.resize_token_embeddings(len(tokenizer))
        last = len(tokenizer) - 1
        log.info("new: embeddings of tokens %d to %d, which the checkpoint lacks", num_embeddings, last)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id  # one of the new tokens
    return set()


def move_positions(model: PreTrainedModel, by: int) -> None:
    """Put each position where it is looked for once the number of the padding has changed `by` so much.

    RoBERTa and its kin count the positions from that number on. Where it grew, the last ones are lost.
    """
    for name, module in model.named_modules():
        counts_on = name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
        if by and counts_on:
            weight = module.get_parameter("weight")
            weight.data = weight.data.roll(by, dims=0)
            log.info("%s: moved by %+d rows, as the number of the padding", name, by)


def _check_numbers(
    tokenizer: PreTrainedTokenizerFast, name: str, revision: str | None, num_embeddings: int
) -> None:
    try:
        expected = open_saved(name, revision=revision).get_vocab()
    except ConfigError:
        return  # weights without a tokenizer beside them: there is nothing to compare with
    numbers = {token: number for token, number in tokenizer.get_vocab().items() if number < num_embeddings}
    num_same = sum(expected.get(token) == number for token, number in numbers.items())
    if num_same < _MIN_SAME * len(numbers):
        raise ConfigError(
            f"tokenizer: {len(numbers) - num_same:,} of its {len(numbers):,} tokens have another number in "
            f"{name!r}, so they would get the vectors of other tokens; take the tokenizer of the model "
            "(tokenizer=pretrained, tokenizer.name=${model.name}), or with "
            "model.embeddings=by_token only the vectors of the tokens that both have"
        )


def _match_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, saved: PreTrainedTokenizerFast
) -> set[str]:
    former = {name: tensor.clone() for name, tensor in _by_token(model).items()}
    num_former = len(model.get_input_embeddings().get_parameter("weight"))
    origins = _origins(tokenizer, saved, num_former)
    with quiet_transformers():
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for name, tensor in _by_token(model).items():
            values = former[name].float()
            drawn = values.mean(0) + values.std(0) * torch.randn(len(origins), *values.shape[1:])
            drawn[origins >= 0] = values[origins[origins >= 0]]
            tensor.copy_(drawn.to(former[name].dtype))
    generation = getattr(model, "generation_config", None)  # of models that write texts
    for key, number in special_token_ids(model.config, tokenizer).items():
        if number is not None:
            setattr(model.config, key, number)
            if generation is not None:
                setattr(generation, key, number)
    counts = f"{int((origins >= 0).sum()):,} of the {len(origins):,}"
    log.info("the checkpoint has vectors of %s tokens, the others are new", counts)
    return set(former)


def _by_token(model: PreTrainedModel) -> dict[str, torch.nn.Parameter]:
    """Parameters with a row or a number for each token, by name; those that are tied once."""
    modules = [model.get_input_embeddings(), model.get_output_embeddings()]
    wanted = {id(parameter) for module in modules if module is not None for parameter in module.parameters()}
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) in wanted}


def _origins(
    tokenizer: PreTrainedTokenizerFast, saved: PreTrainedTokenizerFast, num_former: int
) -> torch.Tensor:
    """[tokens] int64: the number that a token has in the checkpoint, -1 where it has none."""
    former, present = saved.get_vocab(), tokenizer.get_vocab()
    numbers = {number: former.get(token, -1) for token, number in present.items()}
    for role in _ROLES:
        here, there = getattr(tokenizer, role), getattr(saved, role)
        if here is not None and there is not None and numbers[present[here]] < 0:
            numbers[present[here]] = former[there]
    origins = [numbers.get(number, -1) for number in range(len(tokenizer))]
    return torch.tensor([number if number < num_former else -1 for number in origins])
