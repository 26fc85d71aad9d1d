#!/usr/bin/env bash
# Rewrites the tables and plots of docs/routing.md. The part about the recorded trace is
# left as it is where ../shared/data does not hold it.
set -euo pipefail
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -o "$tmp/orrery" .

# section NAME: replaces the section by standard input.
section() {
	cat >"$tmp/body"
	awk -v name="$1" -v body="$tmp/body" '
		$0 ~ "^<!-- " name "[,:]" { print; while ((getline line < body) > 0) print line; skip = 1; next }
		/^<!-- end -->/ { skip = 0 }
		!skip { print }' docs/routing.md >"$tmp/page"
	cp "$tmp/page" docs/routing.md
}

# settings [FIRST]: a table with one line a setting of a comparison, from its text, in
# which settings stand side by side, the first one in every table. FIRST goes before.
settings() {
	awk -F '  +' -v first="${1:-}" '
		/^ +[a-z]/ && !/%|pts/ { for (i = 2; i <= NF; i++) name[i] = $i; fresh = 1; next }
		/^(prefix hits|TTFT p50|TTFT p99|TBT p99|E2E p50|GPU busy|SLO met)  / {
			for (i = 2; i <= NF; i++) {
				if (!(name[i] in seen)) { seen[name[i]] = 1; order[++n] = name[i] }
				value[name[i], $1] = $i
			}
		}
		END {
			for (k = 1; k <= n; k++) {
				s = order[k]
				printf "| %s%s | %s | %s | %s | %s | %s | %s |\n", first, s, value[s, "prefix hits"], value[s, "TTFT p50"], value[s, "TTFT p99"], value[s, "TBT p99"], value[s, "E2E p50"], value[s, "GPU busy"]
			}
		}' | sed 's/ %/ %/'
}

heads="prefix hits | TTFT p50 | TTFT p99 | TBT p99 | E2E p50 | GPU busy"
compare() { "$tmp/orrery" compare "$@" --quiet --force --out "$tmp/run"; }

for name in affinity affinity-hot; do
	{
		echo
		echo "| router | $heads |"
		echo "|---|--:|--:|--:|--:|--:|--:|"
		compare "$name" | settings
		echo
	} | section "$name"
	cp "$tmp/run/ttft.svg" "docs/routing-$name.svg"
done

{
	echo
	echo "| router | view | $heads |"
	echo "|---|--:|--:|--:|--:|--:|--:|--:|"
	for router in least-outstanding prefix-affinity prefix-cost weighted; do
		compare affinity --set policy.route=$router --vary policy.view_delay=0s,100ms,1s,10s --seeds 3 | settings "$router | " | sed 's/view_delay //'
	done
	echo
} | section stale-affinity

trace=../shared/data/traces/mooncake_conversation_0000_2400s.csv.gz
if [ -f "$trace" ]; then
	{
		echo
		echo "| replicas | router | $heads |"
		echo "|--:|---|--:|--:|--:|--:|--:|--:|"
		mooncake() {
			compare affinity --set traffic.source=replay --set traffic.file="$trace" --set traffic.jitter=3s --set traffic.rate=0 \
				--set model.max_len=131072 --seeds 3 "$@"
		}
		# The trace does not say which requests are of one conversation.
		for replicas in 16 8 4; do
			mooncake --set hardware.replicas=$replicas | settings "$replicas | " | grep -v 'session affinity'
			[ $replicas = 8 ] && cp "$tmp/run/ttft.svg" docs/routing-mooncake.svg
		done
		mooncake --set hardware.replicas=4 --set hardware.kv_blocks=800000 | settings "4, with 12.8 M tokens of cache each | " | grep -v 'session affinity'
		echo
	} | section mooncake
fi

go test ./cluster -run 'TestRoutingTheory|TestStaleViews' -v >"$tmp/theory"
{
	echo
	echo "| router | servers | load drawn | mean wait | theory | error |"
	echo "|---|--:|--:|--:|--:|--:|"
	awk '
		/^=== RUN.*TestRoutingTheory\// { sub(".*/", ""); gsub("_", " "); router = $0 }
		/mean wait .* theory .* at the load drawn/ {
			gsub("[(,)]", "")
			match(router, " of [0-9]+ at"); split(substr(router, RSTART), part, " ")
			printf "| %s | %s | %s | %s | %s | %s %% |\n", substr(router, 1, RSTART - 1), part[2], $NF, $4, $6, $7
		}' "$tmp/theory"
	echo
} | section theory
{
	echo
	echo "| view, in mean services old | shortest of all | shorter of two |"
	echo "|--:|--:|--:|"
	awk '/ services old: / { printf "| %s | %s | %s |\n", $3, $8, $14 }' "$tmp/theory"
	echo
} | section stale
