#!/usr/bin/env bash
# Rewrites the parts of README.md and of pages beside this script that programs print, so
# that no figure in them is typed by hand. Sections stand between "<!-- NAME" and "<!-- end -->".
set -euo pipefail
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -o "$tmp/orrery" .

# section NAME [FILE]: replaces the section of the file, README.md by default, by standard input.
section() {
	local file=${2:-README.md}
	cat >"$tmp/body"
	awk -v name="$1" -v body="$tmp/body" '
		$0 ~ "^<!-- " name { print; while ((getline line < body) > 0) print line; skip = 1; next }
		/^<!-- end -->/ { skip = 0 }
		!skip { print }' "$file" >"$tmp/page"
	cp "$tmp/page" "$file"
}

text() { echo '```text'; cat; echo '```'; }

"$tmp/orrery" run quickstart --quiet --out "$tmp/run" | sed -e '/^results in/d' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' | text | section verdict
"$tmp/orrery" compare vllm-vs-sarathi --quiet --out "$tmp/compare" | sed -e '/^results in/,$d' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' | text | section compare
cp "$tmp/compare/tbt.svg" docs/vllm-vs-sarathi.svg

"$tmp/orrery" sweep sweep --quiet --out "$tmp/sweep" | sed -e '/^$/,$d' | text | section sweep

"$tmp/orrery" jobs training/mix --set mix.deadlines=0.5 --quiet --out "$tmp/elastic" | sed -e '/^results in/d' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' | text | section elastic docs/jobs.md
"$tmp/orrery" jobs training/mix --set 'mix.sizes="gavel"' --set mix.rigid=true --set mix.per_hour=4.5 --set mix.jobs=600 --set mix.deadlines=0.5 \
	--quiet --out "$tmp/gangs" | sed -e '/^results in/d' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' | text | section gangs docs/jobs.md

# The judged figures at the higher load; run it on a quiet machine.
"$tmp/orrery" validate --quiet --length 5s --calibration 24s --out "$tmp/validate" |
	sed -n '1,3p; /^90 % load/,$p' | grep -vE '^  (decodes alone|with prompts|iterations|.* p90 )|^  E2E|^results in' | cat -s |
	sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' | text | section validate
cp "$tmp/validate/tbt-90.svg" docs/validate-tbt.svg

"$tmp/orrery" schedules --target 0.4025,0.1548,0.0609,0.0286 --out "$tmp/schedules" |
	sed -e '/^results in/d' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' | text | section schedules docs/schedules.md
cp "$tmp/schedules/regimes.svg" docs/schedules-regimes.svg

silicon=../shared/data/engine/llm_serving_silicon
if [ -f "$silicon.csv" ]; then
	"$tmp/orrery" calibrate serving "$silicon.csv" "${silicon}_disagg.csv" | section serving docs/serving-accuracy.md
fi

published=../shared/data/llm_serving/capacity_fig10_fig11.csv
if [ -f "$published" ]; then
	"$tmp/orrery" paper mistral-7b-chat yi-34b-chat --quiet --published "$published" --out "$tmp/paper" |
		sed -e '/^results in/d' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' | text | section paper
fi

{
	echo
	echo "| run (Llama-2-7B on A100, Sarathi-512, lengths normal(512, 256)) | CPU s | CPU us a request | memory, MB |"
	echo "|---|--:|--:|--:|"
	{
		go test ./scenarios -run '^$' -bench 'BenchmarkRun10k$|BenchmarkRun1M|BenchmarkRun10M|BenchmarkMillionOn100$' -benchtime 3x -timeout 30m
		go test ./scenarios -run '^$' -bench 'BenchmarkTenMillionOn10k$' -benchtime 1x -timeout 30m
	} | awk '
		BEGIN {
			n["BenchmarkRun10k"] = "10,000 requests on one replica"
			n["BenchmarkRun1M"] = "1,000,000 requests on one replica"
			n["BenchmarkRun10M"] = "10,000,000 requests on one replica"
			n["BenchmarkMillionOn100"] = "1,000,000 requests on 100 replicas, least outstanding"
			n["BenchmarkTenMillionOn10k"] = "10,000,000 requests on 10,000 replicas, least outstanding"
		}
		/^cpu:/ { sub("cpu: *", ""); cpu = $0 }
		/^Benchmark/ {
			name = $1; sub("-[0-9]+$", "", name)
			for (i = 2; i < NF; i++) {
				if ($(i+1) == "cpu-s") s = $i
				if ($(i+1) == "cpu-ns/request") ns = $i
				if ($(i+1) == "sys-MB") mb = $i
			}
			printf "| %s | %.3g | %.2f | %.0f |\n", n[name], s, ns / 1000, mb
		}
		END { printf "\nMetrics and law checks on; mean of three runs, the last a single one, on two cores (%s), `docs/update.sh`.\n", cpu }'
	echo
} | section speed

{
	echo '```go'
	sed -n '/^\/\/ ShortestPrompt is/,/^\/\/ affine prices/p' cluster/example_test.go | sed '/^\/\/ affine prices/d' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'
	echo '```'
} | section policy
