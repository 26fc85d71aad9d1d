#!/usr/bin/env bash
# Rewrites the plots of docs/disaggregation.md and its table of host memory. The other
# tables are written by: go test ./cmd -run Disaggregation -update
set -euo pipefail
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -o "$tmp/orrery" .

"$tmp/orrery" compare disagg --rates 6,10,14,18,22 --seeds 5 --quiet --force --out "$tmp/run" >/dev/null
cp "$tmp/run/tbt-over-rate.svg" docs/disaggregation-tbt.svg
cp "$tmp/run/ttft-over-rate.svg" docs/disaggregation-ttft.svg

# settings: a table with one line a setting of a comparison, from its text, in which
# settings stand side by side, the first one in every table.
settings() {
	awk -F '  +' '
		/^ +[0-9a-z]/ && !/%|pts/ { for (i = 2; i <= NF; i++) name[i] = $i }
		/^(prefix hits|TTFT p50|TTFT p99|TBT p99|goodput)  / {
			for (i = 2; i <= NF; i++) {
				if (!(name[i] in seen)) { seen[name[i]] = 1; order[++n] = name[i] }
				value[name[i], $1] = $i
			}
		}
		END {
			print "\n| host memory of a replica | prefix hits | TTFT p50 | TTFT p99 | TBT p99 | goodput |"
			print "|---|--:|--:|--:|--:|--:|"
			for (k = 1; k <= n; k++) {
				s = order[k]
				printf "| %s | %s | %s | %s | %s | %s |\n", s, value[s, "prefix hits"], value[s, "TTFT p50"], value[s, "TTFT p99"], value[s, "TBT p99"], value[s, "goodput"]
			}
			print ""
		}'
}

"$tmp/orrery" compare offload --quiet --force --out "$tmp/run" | settings >"$tmp/body"
awk -v body="$tmp/body" '
	/^<!-- offload:/ { print; while ((getline line < body) > 0) print line; skip = 1; next }
	/^<!-- end -->/ { skip = 0 }
	!skip { print }' docs/disaggregation.md >"$tmp/page"
cp "$tmp/page" docs/disaggregation.md
