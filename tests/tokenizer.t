#!/bin/sh
# Tokenizers against the ids, texts and spans of the `tokenizers` library (make-tokenizers.py).
. "$(dirname "$0")/lib.sh"
data=$TESTS/data/tokenizers
gzip -dc "$data/corpus.jsonl.gz" >"$TMP/corpus"
for dir in "$data"/*/
do
	name=$(basename "$dir")
	gzip -dc "$dir/ids.gz" >"$TMP/want"
	"$UNIT/tokenizer" "$dir" <"$TMP/corpus" >"$TMP/got" 2>"$TMP/said" || cat "$TMP/said"
	ok "$name: the ids of $(grep -c '' "$TMP/corpus") lines" cmp "$TMP/got" "$TMP/want"
	gzip -dc "$dir/text.gz" >"$TMP/want"
	awk 'NR % 5 == 1' "$TMP/got" | "$UNIT/tokenizer" -d "$dir" >"$TMP/back" 2>"$TMP/said"
	ok "$name: ids decode to the library's text" cmp "$TMP/back" "$TMP/want"
done

# ids NAME TEXT WANT [OPTION...]
ids()
{
	model=$1
	text=$2
	want=$3
	shift 3
	is "$model $*: $text" "$(printf '%s\n' "$text" | "$UNIT/tokenizer" "$@" "$data/$model")" "$want"
}
ids llama2 '""' 0
ids llama2 '""' '' -n
ids gpt2 '""' ''
is "llama3: what the template adds stands for no text" \
	"$(echo '"<s>"' | "$UNIT/tokenizer" -s "$data/llama3" | tr ' ' '\n' | cut -d : -f 2- | tr '\n' ' ')" "0:0 0:3 "

# spans MODEL TEXT WANT: where each token begins and ends, in characters.
spans()
{
	is "$1: spans of $2" "$(printf '%s\n' "$2" | "$UNIT/tokenizer" -n -s "$data/$1" | tr ' ' '\n' |
		cut -d : -f 2- | tr '\n' ' ')" "$3 "
}
spans gpt2 '"the 👍"' '0:3 3:4 4:5 4:5 4:5 4:5'
spans llama2 '"the of"' '0:3 3:6'
spans qwen '"xe\u0301x"' '0:1 1:3 3:4'

# A model directory with another tokenizer_config.json: the bos rule.
# config WANT JSON
config()
{
	mkdir -p "$TMP/model"
	cp "$data/gpt2/tokenizer.json" "$TMP/model"
	printf '%s\n' "$2" >"$TMP/model/tokenizer_config.json"
	is "tokenizer_config.json: $2" "$(echo '"<unk"' | "$UNIT/tokenizer" "$TMP/model" | cut -d ' ' -f 1)" "$1"
}
plain=$(echo '"<unk"' | "$UNIT/tokenizer" "$data/gpt2" | cut -d ' ' -f 1)
bos=$(echo '"<s>"' | "$UNIT/tokenizer" -n "$data/gpt2")
config "$plain" '{}'
config "$plain" '{"bos_token": "<s>", "tokenizer_class": "LlamaTokenizer"}'
config "$plain" '{"bos_token": "<s>", "add_bos_token": null}'
config "$plain" '{"bos_token": "<s>", "add_bos_token": false}'
config "$bos" '{"bos_token": "<s>", "add_bos_token": true}'
config "$bos" '{"bos_token": {"content": "<s>"}, "add_bos_token": true, "model_max_length": 1000000000000000019884624838656}'
config "$plain" '{"bos_token": "<s>", "add_eos_token": false}'
config "$bos" '{"bos_token": "<s>", "add_eos_token": false, "tokenizer_class": "LlamaTokenizerFast"}'
is "a template is replaced" "$(cp "$data/llama2/tokenizer.json" "$TMP/model" &&
	echo '{"add_bos_token": false}' >"$TMP/model/tokenizer_config.json" &&
	echo '""' | "$UNIT/tokenizer" "$TMP/model")" ""
echo '{"add_bos_token": true}' >"$TMP/model/tokenizer_config.json"
says "a bos token without a name" 2 'asks for a bos_token and names none' "$UNIT/tokenizer" "$TMP/model"
echo '{"add_bos_token": true, "bos_token": "<none>"}' >"$TMP/model/tokenizer_config.json"
says "a bos token that is none" 2 "'<none>' is no token" "$UNIT/tokenizer" "$TMP/model"
rm "$TMP/model/tokenizer_config.json"

# refused PATTERN JSON: what is not read is named.
refused()
{
	printf '%s\n' "$2" >"$TMP/model/tokenizer.json"
	says "$1" 2 "tokenizer.json: .*$1" "$UNIT/tokenizer" "$TMP/model"
}
bpe='"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}'
refused "model.type is 'Unigram'; only BPE is read" '{"model": {"type": "Unigram", "vocab": []}}'
refused "model.type is 'WordPiece'" '{"model": {"type": "WordPiece"}}'
refused "'model' is null where an object is due" '{}'
refused "model has no 'merges'" '{"model": {"vocab": {}}}'
refused "'abc' is not in the vocabulary" '{"model": {"vocab": {"ab": 0, "c": 1}, "merges": ["ab c"]}}'
refused "merges\[0\]: 'x' is not in the vocabulary" '{"model": {"vocab": {"a": 0}, "merges": ["a x"]}}'
refused "merges\[0\] is not two tokens" '{"model": {"vocab": {"a": 0}, "merges": ["a a a"]}}'
refused "the id of 'a' is not a token id" '{"model": {"vocab": {"a": -1}, "merges": []}}'
refused "token id 4000000000 is not below" '{"model": {"vocab": {"a": 4000000000}, "merges": []}}'
refused "two tokens have the id 1" '{"model": {"vocab": {"a": 1, "b": 1}, "merges": []}}'
refused "model.unk_token 'u'" '{"model": {"vocab": {}, "merges": [], "unk_token": "u"}}'
refused "model.dropout is 0.1" '{"model": {"vocab": {}, "merges": [], "dropout": 0.1}}'
refused "model.end_of_word_suffix is '</w>'" '{"model": {"vocab": {}, "merges": [], "end_of_word_suffix": "</w>"}}'
refused "normalizer: the type 'Precompiled' is not read" "{\"normalizer\": {\"type\": \"Precompiled\"}, $bpe}"
refused "pre_tokenizer: the type 'UnicodeScripts' is not read" "{\"pre_tokenizer\": {\"type\": \"UnicodeScripts\"}, $bpe}"
refused "pre_tokenizer: Metaspace after ByteLevel" "{\"pre_tokenizer\": {\"type\": \"Sequence\",
	\"pretokenizers\": [{\"type\": \"ByteLevel\"}, {\"type\": \"Metaspace\"}]}, $bpe}"
refused "decoder: the type 'CTC' is not read" "{\"decoder\": {\"type\": \"CTC\"}, $bpe}"
refused "post_processor: the type 'X' is not read" "{\"post_processor\": {\"type\": \"X\"}, $bpe}"
refused "special token '<s>' has no ids" "{\"post_processor\": {\"type\": \"TemplateProcessing\",
	\"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}, {\"Sequence\": {\"id\": \"A\"}}]}, $bpe}"
for pattern in '(a' 'a)' '[a' '(?<n>a)' '\\1' '\\X' '*a' '[[:alpha:]]' '\\p{Klingon}' '(?i:ss)' '(?x)a' '\\G'
do
	refused 'regular expression .*: ' "{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"$pattern\"},
		\"behavior\": \"Isolated\"}, $bpe}"
done
awk 'BEGIN { for (i = 0; i < 100000; i++) printf "[" }' >"$TMP/model/tokenizer.json"
says "a hundred thousand brackets" 2 'maximum parsing depth' "$UNIT/tokenizer" "$TMP/model"
says "a file that is none" 2 'No such file' "$UNIT/tokenizer" "$TMP/none"
says "an id that is none" 2 'no token with the id 99999' sh -c 'echo 99999 | "$1" -d "$2"' - "$UNIT/tokenizer" "$data/gpt2"

# A word of a hundred thousand characters: seconds where anything is quadratic.
for text in a ' ' '\n' 'ab ' '\u0301' '中' 'e\u0316\u0301' '<|r|> ' 'A' '1'
do
	"$PYTHON" -c 'import sys; print("\"" + sys.argv[1] * 100000 + "1x\"")' "$text" 2>/dev/null
done >"$TMP/long"
test -s "$TMP/long" && for name in gpt2 llama3 o200k deepseek2 llama2 mistral possessive
do
	ok "$name: lines of a hundred thousand characters end" timeout "${SANITIZED:+1}20" \
		sh -c '"$1" "$2" <"$3" >/dev/null' - "$UNIT/tokenizer" "$data/$name" "$TMP/long"
done
done_testing
