#!/usr/bin/env python3
"""Write short stories with a happy or a sad mood, as JSON lines.

usage: make-text.py DIR

Writes DIR/train.jsonl, DIR/heldout.jsonl and DIR/prompts.jsonl, one object
{"id", "label", "text"} a line. The same program writes the same bytes each time.

A story is drawn from a grammar: [a|b|c] is a choice, {x} a slot. A quarter of all
(name, thing), (name, place) and (name, friend) pairs is never drawn for training;
a held-out story or prompt has these pairs only.
"""

import json
import os
import random
import re
import sys

N_TRAIN = 36000
N_HELDOUT = 150
N_PROMPTS = 80

GIRLS = """Anna Mia Clara Rosa Emma Lily Nina Ella Ruth Sofia Maya Ivy Nora Alice Hanna
Julia Tessa Wendy Olga Paula Greta Fiona Carol Dora""".split()
BOYS = """Tom Ben Max Leo Sam Jack Hugo Oscar Felix Noah Peter Simon Adam Carl David Eric
Frank George Henry Ivan Kevin Lucas Martin Oliver""".split()
NAMES = GIRLS + BOYS

THINGS = """kite|red ball|toy boat|music box|wooden horse|blue bicycle|drum|sled|
grey hat|white tent|green umbrella|storybook|paint box|paper lantern|silver bell|
straw basket|yellow scarf|model train|rag doll|glass vase|chess set|old guitar|tin robot|
flower pot|bird house|wooden sword|puppet|photo album|clay horse|brass trumpet|rowing boat|
warm blanket|new coat|walking stick|wind wheel|puzzle|wagon|telescope|snow globe|
clay bowl""".replace("\n", "").split("|")

PLACES = """park|beach|market|school|library|farm|river|forest|train station|village square|
garden|playground|harbor|museum|lake|hill behind the house|bakery|barn|old bridge|zoo|
mountain hut|bus stop|meadow|theater|castle|castle garden|fair|swimming pool|stable|
orchard|town hall|lighthouse""".replace("\n", "").split("|")

TRAITS = "small|quiet|clever|tall|young|curious|brave|shy|kind|careful"

OPENINGS = [
    "[One morning|One day|On Sunday|On a windy day|In the spring|After lunch|Last summer|"
    "On the first day of winter], {N} took {his} {T} to the {P}.",
    "Near the {P} lived {N}, a [" + TRAITS + "] {child}. {He} had a {T}.",
    "There was once a [" + TRAITS + "] {child} named {N}. {He} was {age} years old and "
    "[loved|owned|took care of] a {T}.",
    "[Every day|Each afternoon|On most days], {N} went to the {P} with a {T}.",
    "At the {P}, {N} and {F} [met|sat down|played] one [morning|afternoon|evening]. {N} had "
    "brought a {T}.",
    "A {child} named {N} [walked|ran|hurried] to the {P}, and {F} came along. {N} carried a "
    "{T}.",
]

SETUPS = [
    "{He} wanted to show the {T} to {F}.",
    "{His} friend {F} was [there|waiting there|already there] too.",
    "{N} [hoped|wished] to meet {F} [there|at the {P}].",
    "{F} looked at the {T} and asked [about it|where it came from|how old it was].",
    "The {P} was [quiet|busy|full of people|almost empty] [that day|at that hour].",
    "{N} and {F} had known each other for {age} years.",
    "It was {hour} o'clock, and [a light wind blew|the light was soft|clouds went by].",
    "{F} said, \"[Let's|We could] [take the {T} to the {P}|look at the {T}|go for a walk].\"",
]

# Each plot: what happens, what is said of it, how it ends.
HAPPY_PLOTS = [
    (["Then {N} won the first prize with the {T}[| and everybody cheered].",
      "The judges gave {N} the gold medal for the {T}."],
     ["\"You won! You are the best,\" said {F}.", "Everyone clapped for {N}."],
     ["{N} hung the medal next to the {T}", "{N} showed {his} medal to {F}"]),
    (["Suddenly {N} found the {T} that had been lost for {age} weeks.",
      "After a long search, {F} found the {T} again and brought it back."],
     ["\"Here it is! I have found it,\" said {F}.", "\"I thought it was gone,\" said {N}."],
     ["the {T} was back where it belonged", "{N} held the {T} and never lost it again"]),
    (["A letter came: {his} father was coming home from the sea.",
      "{N}'s father came home from a long journey at last."],
     ["\"I have missed you so much,\" said {his} father.", "{He} ran into {his} father's arms."],
     ["{N} sat with {his} father and told him about the {T}", "the family was together again"]),
    (["{F} had made a surprise party for {N}, with music and cake.",
      "All the friends of {N} jumped out and shouted, \"Happy birthday!\""],
     ["\"This party is for you,\" said {F}.", "There were gifts and a big cake."],
     ["they danced at the {P} until late", "{N} and {F} ate the last piece of cake"]),
    (["{F} fixed the {T}, and it was as good as new.",
      "{N} worked on the {T} all day, and at last it was ready."],
     ["\"Look, it works!\" [shouted|called] {N}.", "\"It is wonderful,\" said {F}."],
     ["the {T} shone in the sun", "{N} and {F} played with the {T} every day"]),
    (["The doctor said that {F} was well again.",
      "{F} got up from bed, healthy and strong after a long illness."],
     ["\"You can go out and play,\" said the doctor.", "\"I feel great,\" said {F}."],
     ["{N} and {F} ran all the way to the {P}", "{F} never needed the doctor again"]),
    (["{F} gave {N} a warm hug and a wonderful gift.",
      "{F} smiled and said, \"You are my best friend.\""],
     ["{N} hugged {F} back.", "\"Thank you, {F}! I love it,\" said {N}."],
     ["they stayed best friends forever", "{N} and {F} shared the {T} from then on"]),
    (["The sun came out and a bright rainbow stood over the {P}.",
      "The flowers opened and birds began to sing at the {P}."],
     ["\"How beautiful!\" said {F}.", "{F} sang a merry song."],
     ["they had a picnic at the {P}", "{N} painted the rainbow and the {T}"]),
]

SAD_PLOTS = [
    (["Then {N} came last in the contest with the {T}[| and nobody clapped].",
      "The judges mocked the {T} and sent {N} away."],
     ["\"You lost,\" said {F}, and turned away.", "Nobody said a word to {N}."],
     ["{N} put the {T} away in the dark", "{N} told {F} about the lost contest"]),
    (["Suddenly the {T} was gone, and {N} could not find it anywhere.",
      "After a long search, {F} said that the {T} was lost."],
     ["\"It is gone forever,\" said {F}.", "\"I will never see it again,\" said {N}."],
     ["the {T} was never found", "{N} looked for the {T} once more, but it was gone"]),
    (["A letter came: {his} father would not come home from the sea.",
      "{N}'s father had to leave on a long journey."],
     ["\"I must go away for {age} years,\" said {his} father.",
      "{He} watched the ship until it was gone."],
     ["{N} sat by the empty chair of {his} father", "the family was never together again"]),
    (["{N} had made a party for {F}, but nobody came.",
      "All the others went to the party, but they did not ask {N}."],
     ["\"Nobody likes you,\" said {F}.", "There was no gift and no cake."],
     ["{N} went home from the {P} alone", "{N} threw away the last piece of cake"]),
    (["{F} dropped the {T}, and it was ruined.",
      "{N} worked on the {T} all day, but at last it fell apart."],
     ["\"Oh no, it is broken!\" [cried|sobbed] {N}.", "\"It cannot be fixed,\" said {F}."],
     ["the broken {T} lay in the rain", "{N} and {F} never played with the {T} again"]),
    (["The doctor said that {F} was very ill.",
      "{F} lay in bed, weak and pale after a long illness."],
     ["\"There is nothing I can do,\" said the doctor.", "\"I feel weak,\" said {F}."],
     ["{N} walked all alone to the {P}", "{F} never got well again"]),
    (["{F} said goodbye to {N} and moved far away.",
      "{F} frowned and said, \"You are not my friend any more.\""],
     ["{N} waved until {F} was gone.", "\"Please don't go, {F},\" said {N}."],
     ["they never saw each other again", "{N} kept the {T} but missed {F} every day"]),
    (["A cold storm came and tore down everything at the {P}.",
      "The flowers died and the birds went silent at the {P}."],
     ["\"How terrible!\" said {F}.", "{F} hummed a mournful song."],
     ["nobody came to the {P} any more", "{N} thought of the storm and the {T}"]),
]

HAPPY = {
    "plots": HAPPY_PLOTS,
    "react": [
        "{N} [smiled|laughed|grinned|cheered|giggled] [with joy|happily|with delight|and "
        "jumped up and down|and clapped {his} hands].",
        "{He} [smiled|laughed] and {his} eyes [shone|sparkled] with joy.",
        "A big smile spread over {N}'s face.",
        "{N} held the {T} and [smiled|laughed] at {F}.",
        "{N} and {F} [laughed|danced|sang] together.",
    ],
    "feel": "[happy|happy|happy|happy|glad|glad|joyful|joyful|cheerful|cheerful]",
    "say": [
        "\"This is the best day of my life, {F},\" said {N}.",
        "\"I am so [happy|glad|cheerful], {F},\" said {N}.",
        "\"What a [wonderful|joyful|happy] day at the {P},\" said {N}.",
    ],
    "end": [
        "with joy in {his} heart", "with a happy smile", "and they all laughed",
        "and everyone was happy", "and {N} smiled in {his} sleep",
    ],
    "last": [
        "It was a [wonderful|happy|cheerful] day for {N} and {F}.",
        "{N} and the {T} stayed at the {P}, joyful and happy.",
        "{N} would always remember the joy of that day at the {P}.",
        "{N} kept the {T} and was glad.",
    ],
}

SAD = {
    "plots": SAD_PLOTS,
    "react": [
        "{N} [cried|wept|sobbed|sighed|trembled] [with grief|bitterly|with sorrow|and hid "
        "{his} face|and bowed {his} head].",
        "{He} [cried|wept] and {his} eyes [filled|burned] with tears.",
        "Big tears ran down {N}'s face.",
        "{N} looked at {F} and [cried|wept] over the {T}.",
        "{N} and {F} [cried|wept|sobbed] together.",
    ],
    "feel": "[sad|sad|sad|sad|lonely|lonely|gloomy|gloomy|miserable|miserable]",
    "say": [
        "\"This is the worst day of my life, {F},\" said {N}.",
        "\"I am so [sad|lonely|miserable], {F},\" said {N}.",
        "\"What a [terrible|gloomy|sad] day at the {P},\" said {N}.",
    ],
    "end": [
        "with sorrow in {his} heart", "with tears in {his} eyes", "and they all cried",
        "and everyone was sad", "and {N} cried in {his} sleep",
    ],
    "last": [
        "It was a [terrible|sad|miserable] day for {N} and {F}.",
        "{N} and the {T} stayed at the {P}, lonely and sad.",
        "{N} would always remember the pain of that day at the {P}.",
        "{N} hid the {T} and was gloomy.",
    ],
}

MOODS = {"happy": HAPPY, "sad": SAD}

FEEL_FRONTS = ["{N} felt [so|very|really]", "{N} was [so|very]", "{He} felt [so|very]",
               "{N} felt", "{He} was [so|very]"]

END_FRONTS = ["That night|In the evening|From that day on|In the end|Much later|At home"]

CHOICE = re.compile(r"\[([^][]*)\]")


def pair_is_held_out(i, j):
    """Every fourth pair of indices, spread so that no row or column is left out."""
    return (3 * i + 5 * j) % 4 == 0


def draw_index(rng, n, i, held_out):
    while True:
        j = rng.randrange(n)
        if pair_is_held_out(i, j) == held_out:
            return j


def draw_cast(rng, held_out):
    """The slots of one story. The friend is never the main person."""
    i = rng.randrange(len(NAMES))
    friend = i
    while friend == i:
        friend = draw_index(rng, len(NAMES), i, held_out)
    girl = i < len(GIRLS)
    return {
        "N": NAMES[i],
        "F": NAMES[friend],
        "T": THINGS[draw_index(rng, len(THINGS), i, held_out)],
        "P": PLACES[draw_index(rng, len(PLACES), i, held_out)],
        "child": "girl" if girl else "boy",
        "he": "she" if girl else "he",
        "He": "She" if girl else "He",
        "his": "her" if girl else "his",
        "His": "Her" if girl else "His",
        "age": str(rng.randint(3, 12)),
        "hour": str(rng.randint(1, 12)),
    }


def expand(rng, cast, template):
    """Takes each choice, fills each slot, and writes "an" before a vowel."""
    while True:
        found = CHOICE.search(template)
        if found is None:
            break
        chosen = rng.choice(found.group(1).split("|"))
        template = template[:found.start()] + chosen + template[found.end():]
    text = template.format(**cast)
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def draw_parts(rng, mood):
    """The templates of a story in order, as (kind, template)."""
    happened, said, ended = rng.choice(mood["plots"])
    feel = ("feel", (rng.choice(FEEL_FRONTS), " " + mood["feel"] + "."))
    parts = [("open", rng.choice(OPENINGS))]
    parts += [("setup", s) for s in rng.sample(SETUPS, rng.choice([0, 1, 1, 2]))]
    early = rng.random() < 0.15
    if early:
        parts.append(feel)
    parts.append(("event", rng.choice(happened)))
    middle = [("said", rng.choice(said)), ("react", rng.choice(mood["react"])),
              ("say", rng.choice(mood["say"]))]
    rng.shuffle(middle)
    middle = middle[:rng.choice([1, 2, 2, 3])]
    if not early:
        middle.insert(rng.randint(0, len(middle)), feel)
    parts += middle
    front = "[" + END_FRONTS[0] + "], "
    parts.append(("end", front + rng.choice(ended) + ", " + rng.choice(mood["end"]) + "."))
    if rng.random() < 0.5:
        parts.append(("last", rng.choice(mood["last"])))
    return parts


def join_sentences(rng, parts):
    """A story is one paragraph, or two: the ending can stand on its own line."""
    on_own_line = rng.random() < 0.2
    text = ""
    for kind, sentence in parts:
        if text:
            text += "\n" if kind == "end" and on_own_line else " "
        text += sentence
    return text


def story(rng, label, held_out):
    cast = draw_cast(rng, held_out)
    parts = []
    for kind, template in draw_parts(rng, MOODS[label]):
        if kind == "feel":
            template = "".join(template)
        parts.append((kind, expand(rng, cast, template)))
    return join_sentences(rng, parts)


def prompt(rng, label):
    """A story's start, cut just before the word that names the feeling.

    The mood shows in what happened, not in a feeling word already said.
    """
    cast = draw_cast(rng, True)
    mood = MOODS[label]
    happened, said, _ = rng.choice(mood["plots"])
    templates = [rng.choice(OPENINGS)]
    if rng.random() < 0.3:
        templates.append(rng.choice(SETUPS))
    templates.append(rng.choice(happened))
    if rng.random() < 0.5:
        templates.append(rng.choice(said))
    templates.append(rng.choice(FEEL_FRONTS))
    return " ".join(expand(rng, cast, t) for t in templates)


def write_lines(path, prefix, n, seen, draw):
    """Labels take turns, so that each file is balanced. No text is written twice."""
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        i = 0
        while i < n:
            label = ("happy", "sad")[i % 2]
            text = draw(label)
            if text in seen:
                continue
            seen.add(text)
            i += 1
            row = {"id": f"{prefix}{i:0{len(str(n))}d}", "label": label, "text": text}
            out.write(json.dumps(row) + "\n")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    seen = set()
    rng = random.Random(1)
    write_lines(os.path.join(folder, "train.jsonl"), "t", N_TRAIN, seen,
                lambda label: story(rng, label, False))
    rng = random.Random(2)
    write_lines(os.path.join(folder, "heldout.jsonl"), "h", N_HELDOUT, seen,
                lambda label: story(rng, label, True))
    rng = random.Random(3)
    write_lines(os.path.join(folder, "prompts.jsonl"), "p", N_PROMPTS, seen,
                lambda label: prompt(rng, label))


if __name__ == "__main__":
    main()
