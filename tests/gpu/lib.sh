# shellcheck shell=sh
# For test.sh and bench.sh.  They need a GPU; DRY=1 takes the module that runs on the host instead, at toy sizes, to try the
# scripts where there is none: what it then prints is no figure of any card.
#
#   $module $rates   the module and tests/gpu/rates.cu, for the card or for the host     $kind   "cuda" or "dry run on the host"
#   $dir             an empty directory                                                  $card   what the GPU is
#   $report          from its name, gpu-test, to a file for what `tell` says, which then begins with kind and card

report=${REPORT:-${BUILD:-build}/$report.txt}
mkdir -p "$(dirname "$report")"
report=$(realpath "$report")
: >"$report"
cd "$(dirname "$0")/../.." || exit
BIN=${BIN:-$PWD/bin} BUILD=${BUILD:-$PWD/build} DRY=${DRY:-}
PATH=$BIN:$PATH
export BIN BUILD PATH
kind=cuda module=$BIN/onelayer-cuda.so rates=$BUILD/cuda/rates
if test -n "$DRY"
then
	kind='dry run on the host' module=$BUILD/cuda-host/onelayer-cuda.so rates=$BUILD/cuda-host/rates
fi
ONELAYER_CUDA_MODULE=$module
export ONELAYER_CUDA_MODULE
dir=$(mktemp -d "${DIR:-${TMPDIR:-/tmp}}/onelayer-gpu.XXXXXX") || exit
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM

# tell TEXT...: to the terminal and into the report.
tell()
{
	printf '%s\n' "$*" | tee -a "$report"
}

# Stops with the reason where --device cuda can't be used.
need_card()
{
	model=tests/data/models/llama-bf16
	echo '{"input_ids":[1,2,3]}' | tok -q -f ids | embed -q -m $model -o "$dir/one.tms"
	if test ! -e "$module" || ! layer-run -v --device cuda -m $model -o "$dir/one.out" "$dir/one.tms" 2>"$dir/said"
	then
		test -e "$module" || echo "$module isn't built" >"$dir/said"
		echo "$0 needs a GPU:" >&2
		cat "$dir/said" >&2
		exit 2
	fi
	card=$(sed -n 's/^layer-run: \(cuda .*\), [0-9]* threads.*/\1/p' "$dir/said")
}

# ids VOCAB: samples of random ids whose lengths are given one a line.
ids()
{
	awk -v vocab="$1" 'BEGIN { srand(1) } {
		printf "{\"input_ids\":["
		for (i = 0; i < $1; i++)
			printf "%s%d", i ? "," : "", int(rand() * vocab)
		print "]}"
	}'
}

need_card
tell "$(basename "$0" .sh)-gpu, $kind: $card"
