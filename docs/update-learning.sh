#!/usr/bin/env bash
# Rewrites the tables of learning-curves.md: ten minutes of two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -o "$tmp/orrery" .
page=docs/learning-curves.md

# section NAME: replaces the section of the page by standard input, as text.
section() {
	{ echo '```text'; cat; echo '```'; } >"$tmp/body"
	awk -v name="$1" -v body="$tmp/body" '
		$0 ~ "^<!-- " name "," { print; while ((getline line < body) > 0) print line; skip = 1; next }
		/^<!-- end -->/ { skip = 0 }
		!skip { print }' "$page" >"$tmp/page"
	cp "$tmp/page" "$page"
}

learn() { "$tmp/orrery" learn "$@" --quiet; }

elastic() { learn refined heart pima --steps 1500 --decay 1e-3 --replace --recordings 4 --runs 4 "$@"; }

learn schedules | section schedules-sgd
learn schedules --optimiser adam | section schedules-adam
learn schedules --optimiser adam --rates .01,.03,.1,.3 | sed '/^$/,$d' | section schedules-adam-wide
{
	elastic --batch 16
	echo
	elastic --batch 2 --then 64 --at 0.3
	echo
	elastic --batch 64 --then 2 --at 0.6
} | section elastic
learn refined | section refined-sgd
learn refined --optimiser adam --epochs 20 --decay 0 | section refined-adam
