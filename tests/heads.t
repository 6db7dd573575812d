#!/bin/sh
# Heads wider than a back end has kernels for are refused before any work, and auto takes one that has; ref computes any.
. "$(dirname "$0")/lib.sh"
need_python
cd "$TMP" || exit
export PYTHONDONTWRITEBYTECODE=1 ONELAYER_CUDA_MODULE="$BUILD/cuda-host/onelayer-cuda.so"

# A llama of one layer whose two heads have that many columns.
make_model()
{
	PYTHONPATH=$TESTS "$PYTHON" - "$1" <<'END'
import sys
from importlib import import_module
models = import_module("make-models")
name = "heads-" + sys.argv[1]
models.MODELS[name] = models.llama("f32", head_dim=int(sys.argv[1]), hidden_size=16, intermediate_size=24, num_hidden_layers=1,
                                   num_attention_heads=2, num_key_value_heads=1)
models.make(".", name)
END
}

# refused DEVICE WIDTH LIMIT INSTEAD
refused()
{
	says "$1: heads of $2 columns" 2 "^layer-run: .*heads-$2: its heads have $2 columns, and attention on $1 is for at most $3; use --device $4\$" \
		layer-run --device "$1" -m "heads-$2" -o out.tms --tap v=tap.tms "in.$2.tms"
	ok "$1: nothing is left" test ! -e out.tms -a ! -e tap.tms
}

echo '{"input_ids":[3,1,4,1,5,9,2,6]}' >ids.jsonl
for width in 256 258 3840 3842
do
	ok "a model with heads of $width columns" make_model $width
	tok -f ids ids.jsonl | embed -m heads-$width -o in.$width.tms
	ok "ref: heads of $width columns" layer-run --device ref --resid-dtype f32 -m heads-$width -o ref.$width.tms in.$width.tms
done
for width in 256 3840
do
	ok "cpu: heads of $width columns" layer-run --device cpu -m heads-$width -o cpu.tms in.$width.tms
	ok "as ref has it" tdiff -q --atol 1e-4 --rtol 1e-4 cpu.tms ref.$width.tms
done
refused cpu 3842 3840 ref
ok "cuda: heads of 256 columns" layer-run --device cuda -m heads-256 -o cuda.tms in.256.tms
ok "as ref has it" tdiff -q --atol 1e-4 --rtol 1e-4 cuda.tms ref.256.tms
refused cuda 258 256 cpu
says "auto: heads of 258 columns are cpu's, and it tells" 0 "^layer-run: cpu .*\(not cuda: heads-258: its heads have 258 columns" \
	layer-run -v --device auto -m heads-258 -o auto.tms in.258.tms
layer-run --device cpu -m heads-258 -o cpu.tms in.258.tms
ok "and gives cpu's bytes" cmp auto.tms cpu.tms
says "auto: heads that neither has" 2 "^layer-run: heads-3842: its heads have 3842 columns, and attention on cpu is for at most 3840; use --device ref" \
	layer-run --device auto -m heads-3842 in.3842.tms
refused cuda 3842 256 ref
done_testing
