#!/bin/sh
# Shards over processes, device slots and hosts give what one process gives: pipelines/shards.sh with GNU parallel.
. "$(dirname "$0")/lib.sh"
P=$ROOT/pipelines
cd "$TMP" || exit

work="embed -m '$MOOD' | layer-run -m '$MOOD' --tap resid_post/last=-"
head -n 30 "$MOOD/prompts.jsonl" | tok -m "$MOOD" -o tokens.tms
sh -c "$work" <tokens.tms >one.tms

# same FILE: its activations, and all that goes with them, are those of one process; the cuts into frames may differ.
same()
{
	for form in --tsv --json
	do
		tcat "$form" one.tms >one.txt && tcat "$form" "$1" | cmp - one.txt || return
	done
}

ok "a shard's work is whole or absent" sh -c '! "$1/shard.sh" "$2" cut.done "cat; exit 1" <"$2" && test ! -e cut.done' \
	- "$P" tokens.tms
DEVICES=2 "$P/shard.sh" tokens.tms held.done 'touch held; for try in $(seq 600); do test -e release || sleep 0.1; done' &
for try in $(seq 100)
do
	test ! -e held || break
	sleep 0.2
done
if command -v flock >/dev/null
then
	DEVICES=2 "$P/shard.sh" tokens.tms device.done 'echo $CUDA_VISIBLE_DEVICES'
	is "a shard takes a device that no other has" "$(cat device.done)" 1
else
	skip "a shard takes a device that no other has" "no flock"
fi
touch release
wait

parallel --version 2>/dev/null | grep -q '^GNU parallel' || {
	skip "over processes and hosts" "no GNU parallel"
	done_testing
}
export HOME="$TMP"

ok "shards over processes" "$P/shards.sh" -k 3 -j 2 tokens.tms shards.tms "echo \$CUDA_VISIBLE_DEVICES >>$TMP/slots; $work"
ok "their activations are those of one process" same shards.tms
ok "and nothing else is left" test ! -e shards.tms.shards
is "each slot has its own device" "$(sort -u slots | tr '\n' ' ')" "0 1 "
ok "more shards than samples" sh -c 'tcat --ids p01,p02 one.tms -o two.tms && "$1/shards.sh" two.tms few.tms cat &&
	tcat --tsv two.tms >two.txt && tcat --tsv few.tms | cmp - two.txt' - "$P"
ok "a shard that fails leaves nothing" sh -c '! "$1/shards.sh" tokens.tms bad.tms "head -c 1000" &&
	test ! -e bad.tms && test ! -e bad.tms.shards' - "$P"
for statistic in pca diffmean
do
	case $statistic in
	pca) merge='pca --merge -k 3' partial='pca --partial' whole='pca -k 3' ;;
	diffmean) merge='diffmean --merge' partial='diffmean --pos happy --neg sad --partial'
		whole='diffmean --pos happy --neg sad' ;;
	esac
	if test -x "$BIN/$statistic"
	then
		ok "$statistic of shards" "$P/shards.sh" -k 3 -m "$merge" tokens.tms parts.tms "$work | $partial"
		$whole one.tms >whole.tms
		ok "$statistic of shards is that of all samples but for the last bits" sh -c 'tcat --tsv whole.tms >whole.txt &&
			tcat --tsv parts.tms | paste whole.txt - | awk -F "\t" "NR > 1 {
				for (i = 8; i <= NF / 2; i++) {
					d = \$i - \$(i + NF / 2)
					if (d * d > 1e-20 * (1 + \$i * \$i))
						bad = 1
				}
				n++
			} END { exit bad || n < 6 }"'
	else
		skip "$statistic of shards" "not built"
	fi
done

# A server of our own on this machine: its keys, port and settings lie in $TMP.
sshd=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd)
start_sshd()
{
	why="no sshd, ssh or rsync"
	test -n "$sshd" || return
	command -v ssh >/dev/null || return
	command -v rsync >/dev/null || return
	if test "$(id -u)" -eq 0 && test ! -d /run/sshd
	then
		mkdir -m 755 /run/sshd || return
	fi
	ssh-keygen -q -t ed25519 -N '' -f host && ssh-keygen -q -t ed25519 -N '' -f user || return
	cat >client <<-END
		Host near far
		HostName 127.0.0.1
		User $(id -un)
		IdentityFile $TMP/user
		IdentitiesOnly yes
		UserKnownHostsFile $TMP/known
		StrictHostKeyChecking accept-new
		LogLevel ERROR
		ControlMaster auto
		ControlPath $TMP/ssh-%n
		ControlPersist 10
		ConnectTimeout 10
	END
	port=$((20000 + $$ % 20000))
	for try in 1 2 3
	do
		port=$((port + try))
		cat >server <<-END
			Port $port
			ListenAddress 127.0.0.1
			HostKey $TMP/host
			PidFile $TMP/sshd.pid
			AuthorizedKeysFile $TMP/user.pub
			StrictModes no
			UsePAM no
			PasswordAuthentication no
			KbdInteractiveAuthentication no
			PermitRootLogin yes
		END
		"$sshd" -f server -E sshd.log || {
			why="sshd does not start: $(tail -n 1 sshd.log)"
			continue
		}
		echo "Port $port" >>client
		# The configuration and the user's shell decide whether it lets us in.
		why="sshd does not let us in: $(ssh -F client near echo well 2>&1)"
		test "$why" = "sshd does not let us in: well"
		return
	done
	return 1
}

stop_sshd()
{
	for name in near far
	do
		ssh -F client -O exit "$name" 2>/dev/null
	done
	test ! -s sshd.pid || kill "$(cat sshd.pid)"
}

if start_sshd
then
	export SSH="ssh -F $TMP/client"
	ok "shards over hosts" "$P/shards.sh" -S near,far -j 1 -d 2 -k 3 tokens.tms hosts.tms \
		"echo x >>$TMP/ran-there; test -n \"\$SSH_CONNECTION\" && test -n \"\$CUDA_VISIBLE_DEVICES\" && $work"
	ok "their activations are those of one process" same hosts.tms
	is "each ran there" "$(wc -l <ran-there)" 3
else
	skip "shards over hosts" "$why"
fi
stop_sshd 2>/dev/null
done_testing
