#!/usr/bin/env bash
# Rewrites the tables and pictures of solver-search.md: three minutes of two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -o "$tmp/orrery" .
page=docs/solver-search.md

# section NAME: replaces the section of the page by standard input, as text.
section() {
	{ echo '```text'; cat; echo '```'; } >"$tmp/body"
	awk -v name="$1" -v body="$tmp/body" '
		$0 ~ "^<!-- " name "," { print; while ((getline line < body) > 0) print line; skip = 1; next }
		/^<!-- end -->/ { skip = 0 }
		!skip { print }' "$page" >"$tmp/page"
	cp "$tmp/page" "$page"
}

for model in digits ring satellite; do
	"$tmp/orrery" search solver "$model" --nfe 3-8,10 --out "$tmp/$model" --quiet >/dev/null
	sed '/^$/,$!d; /^times:/,$d' "$tmp/$model/table.txt" | sed '/^$/d' | section "$model"
done
cp "$tmp/digits/error.svg" docs/search-error.svg
cp "$tmp/digits/times-5.svg" docs/search-times.svg
