#!/bin/sh
# layer-run --share: processes that read weights in step give what each gives alone.
. "$(dirname "$0")/lib.sh"
cd "$TMP" || exit
model=$ROOT/tests/data/models/llama-bf16
"$PYTHON" -c 'import random; [print(*[random.Random(i).randrange(90) for _ in range(3 + i % 9)]) for i in range(40)]' >ids
tok -f ids ids >ids.tms && embed -m "$model" ids.tms >in.tms
layer-run -m "$model" -o alone.tms in.tms
for i in 1 2 3
do
	layer-run -m "$model" --share meet -o "$i.tms" in.tms &
done
wait
ok "three processes in step give what one gives" sh -c 'for i in 1 2 3; do cmp alone.tms $i.tms || exit; done'
ok "one of two that is killed keeps nobody waiting" sh -c '
	mkfifo never && { layer-run -m "$0" --share meet never -n --tap resid_post=x & } && layer-run -m "$0" --share meet in.tms | cmp - alone.tms
	status=$?; kill $!; exit $status' "$model"
echo precious >mine
says "a file of somebody's is refused" 2 "mine: isn't a file" layer-run -m "$model" --share mine in.tms
is "it is as it was" "$(cat mine)" precious
done_testing
