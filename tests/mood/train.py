#!/usr/bin/env python3
"""Make the tokenizer and the model of this folder, and measure them.

usage: train.py train DIR MODEL     make MODEL from DIR/train.jsonl
       train.py evaluate DIR MODEL  perplexity, and what the mood direction does

DIR is what make-text.py wrote. Needs torch, transformers, tokenizers.
"""

import json
import math
import os
import random
import sys
import time
from collections import defaultdict

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from tokenizers import processors, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers import PreTrainedTokenizerFast

VOCAB = 1024
BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
         r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
ROW, ROWS_A_BATCH, STORIES_A_BATCH = 192, 24, 48
STEPS, SINGLE_STEPS, WARMUP, RATE, DECAY = 900, 660, 40, 4e-3, 0.05
ORDERS = (3, 4, 5, 6)
HAPPY_WORDS = "happy glad joyful cheerful".split()
SAD_WORDS = "sad lonely gloomy miserable".split()


def read_rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def make_tokenizer(texts, folder):
    """Byte-level BPE; the two special tokens come after the merged ones."""
    bpe = Tokenizer(models.BPE(ignore_merges=False))
    bpe.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=VOCAB - 2, show_progress=False, special_tokens=[],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    bpe.add_special_tokens([AddedToken(BOS, special=True, normalized=False),
                            AddedToken(EOS, special=True, normalized=False)])
    bpe.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(
            single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1",
            special_tokens=[(BOS, bpe.token_to_id(BOS))])])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=BOS, eos_token=EOS, model_max_length=512,
        clean_up_tokenization_spaces=False, model_input_names=["input_ids", "attention_mask"])
    tokenizer.save_pretrained(folder)
    return tokenizer


def pack(stories, seed):
    """Rows of ROW ids. Each begins with a whole story; the last story of a row is cut."""
    order = list(range(len(stories)))
    random.Random(seed).shuffle(order)
    rows, row = [], []
    for i in order:
        row += stories[i]
        if len(row) >= ROW:
            rows.append(row[:ROW])
            row = []
    return torch.tensor(rows)


def bucket(stories, seed):
    """Batches of STORIES_A_BATCH whole stories of like length, cut to the shortest."""
    chance = random.Random(seed)
    order = list(range(len(stories)))
    chance.shuffle(order)
    span = 20 * STORIES_A_BATCH
    batches = []
    for first in range(0, len(order) - span + 1, span):
        near = sorted(order[first:first + span], key=lambda i: len(stories[i]))
        for at in range(0, span, STORIES_A_BATCH):
            ids = [stories[i] for i in near[at:at + STORIES_A_BATCH]]
            shortest = len(ids[0])
            batches.append(torch.tensor([one[:shortest] for one in ids]))
    chance.shuffle(batches)
    return batches


def batch_at(step, singles, rows):
    """Single stories first: there the copying of names is learned sooner than in rows."""
    if step < SINGLE_STEPS:
        return singles[step % len(singles)]
    at = (step - SINGLE_STEPS) * ROWS_A_BATCH
    return rows[at:at + ROWS_A_BATCH]


def rate_at(step):
    if step < WARMUP:
        return RATE * (step + 1) / WARMUP
    done = (step - WARMUP) / (STEPS - WARMUP)
    return RATE * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def make_model(tokenizer):
    torch.manual_seed(1)
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=VOCAB, hidden_size=128, intermediate_size=352, num_hidden_layers=6,
        num_attention_heads=8, num_key_value_heads=4, head_dim=16,
        max_position_embeddings=512, rms_norm_eps=1e-5, rope_theta=10000.0,
        tie_word_embeddings=True, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id))


def train(folder, out):
    torch.set_num_threads(1)
    os.makedirs(out, exist_ok=True)
    texts = [row["text"] for row in read_rows(os.path.join(folder, "train.jsonl"))]
    tokenizer = make_tokenizer(texts, out)
    stories = [ids + [tokenizer.eos_token_id] for ids in tokenizer(texts)["input_ids"]]
    rows, singles = pack(stories, 1), bucket(stories, 2)
    print(f"{sum(map(len, stories))} tokens, {len(rows)} rows, "
          f"{sum(map(len, stories)) / len(stories):.1f} tokens a story", flush=True)
    model = make_model(tokenizer)
    wide = [p for p in model.parameters() if p.dim() > 1]
    thin = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": wide, "weight_decay": DECAY},
                                   {"params": thin, "weight_decay": 0.0}],
                                  lr=RATE, betas=(0.9, 0.98))
    began = time.time()
    for step in range(STEPS):
        batch = batch_at(step, singles, rows)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step)
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0 or step == STEPS - 1:
            print(f"step {step} loss {loss.item():.4f} {time.time() - began:.0f} s", flush=True)
    model.to(torch.bfloat16).save_pretrained(out, safe_serialization=True)


class KneserNey:
    """Interpolated Kneser-Ney of one order, one discount a level, down to uniform."""

    def __init__(self, stories, order):
        self.order = order
        self.counts = [defaultdict(lambda: defaultdict(int)) for _ in range(order)]
        for ids in stories:
            for i in range(1, len(ids)):
                n = min(order, i + 1)
                self.counts[n - 1][tuple(ids[i - n + 1:i])][ids[i]] += 1
        # A lower order counts the different words to the left. An n-gram that begins
        # with BOS has none and keeps its own count.
        for n in range(order - 1, 0, -1):
            for context, nexts in self.counts[n].items():
                for token in nexts:
                    self.counts[n - 1][context[1:]][token] += 1
        self.discounts = [self.discount(table) for table in self.counts]
        self.totals = [{c: sum(x.values()) for c, x in table.items()} for table in self.counts]

    @staticmethod
    def discount(table):
        ones = sum(c == 1 for nexts in table.values() for c in nexts.values())
        twos = sum(c == 2 for nexts in table.values() for c in nexts.values())
        return ones / (ones + 2 * twos) if ones else 0.5

    def probability(self, context, token):
        p = 1.0 / VOCAB
        for n in range(min(self.order - 1, len(context)) + 1):
            tail = tuple(context[len(context) - n:])
            nexts = self.counts[n].get(tail)
            if nexts is None:
                break
            total, d = self.totals[n][tail], self.discounts[n]
            p = max(nexts.get(token, 0) - d, 0.0) / total + d * len(nexts) / total * p
        return p


def perplexities(folder, tokenizer, model):
    """Prints the perplexity over each held-out story's own tokens and its end token."""
    def ids_of(name):
        texts = [row["text"] for row in read_rows(os.path.join(folder, name))]
        return [ids + [tokenizer.eos_token_id] for ids in tokenizer(texts)["input_ids"]]
    held_out = ids_of("heldout.jsonl")
    count = sum(len(ids) - 1 for ids in held_out)
    nats = 0.0
    for ids in held_out:
        row = torch.tensor([ids])
        logs = torch.log_softmax(model(row).logits[0, :-1].double(), -1)
        nats -= logs.gather(1, row[0, 1:, None]).sum().item()
    print(f"{count} held-out tokens: model {math.exp(nats / count):.4f}")
    known = ids_of("train.jsonl")
    for order in ORDERS:
        grams = KneserNey(known, order)
        nats = 0.0
        for ids in held_out:
            for i in range(1, len(ids)):
                nats -= math.log(grams.probability(ids[max(0, i - order + 1):i], ids[i]))
        print(f"{order}-gram {math.exp(nats / count):.4f}")


def last_states(model, tokenizer, texts, layer):
    """The residual after LAYER at the last token, one row a text."""
    states = []
    for text in texts:
        row = torch.tensor([tokenizer(text)["input_ids"]])
        states.append(model(row, output_hidden_states=True).hidden_states[layer + 1][0, -1])
    return torch.stack(states)


def word_shares(model, tokenizer, texts, layer, push):
    """Mean P(happy words), P(sad words) for the next token; PUSH is added after LAYER."""
    firsts = [[tokenizer(" " + word, add_special_tokens=False)["input_ids"][0] for word in words]
              for words in (HAPPY_WORDS, SAD_WORDS)]

    def add(_module, _inputs, output):
        return (output[0] + push,) + output[1:] if isinstance(output, tuple) else output + push

    hook = model.model.layers[layer].register_forward_hook(add)
    sums = torch.zeros(2)
    for text in texts:
        row = torch.tensor([tokenizer(text)["input_ids"]])
        p = torch.softmax(model(row).logits[0, -1], -1)
        sums += torch.stack([p[sorted(set(ids))].sum() for ids in firsts])
    hook.remove()
    return (sums / len(texts)).tolist()


def mood_direction(folder, tokenizer, model):
    """Class means from one half of the prompts, judged and steered on the other half."""
    rows = read_rows(os.path.join(folder, "prompts.jsonl"))
    half = len(rows) // 2
    texts = [row["text"] for row in rows]
    happy = torch.tensor([row["label"] == "happy" for row in rows])
    for layer in range(model.config.num_hidden_layers):
        states = last_states(model, tokenizer, texts, layer)
        known, fresh = states[:half], states[half:]
        up, down = known[happy[:half]].mean(0), known[~happy[:half]].mean(0)
        line = up - down
        side = (fresh - (up + down) / 2) @ line > 0
        right = (side == happy[half:]).sum().item()
        print(f"layer {layer}: {right}/{len(rows) - half} right, |difference| {line.norm():.3f}, "
              f"mean |state| {states.norm(dim=-1).mean():.3f}")
        if layer not in (2, 3):
            continue
        for alpha in (-2, -1, -0.5, 0, 0.5, 1, 2):
            for name, want in (("happy", True), ("sad", False)):
                group = [t for t, h in zip(texts[half:], happy[half:]) if h == want]
                p = word_shares(model, tokenizer, group, layer, alpha * line)
                print(f"  alpha {alpha:+.1f} {name} prompts: P(happy words) {p[0]:.4f}, "
                      f"P(sad words) {p[1]:.4f}")


@torch.no_grad()
def evaluate(folder, out):
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(out)
    model = AutoModelForCausalLM.from_pretrained(out, torch_dtype=torch.float32).eval()
    perplexities(folder, tokenizer, model)
    mood_direction(folder, tokenizer, model)


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("train", "evaluate"):
        sys.exit(__doc__.strip())
    {"train": train, "evaluate": evaluate}[sys.argv[1]](sys.argv[2], sys.argv[3])


if __name__ == "__main__":
    main()
