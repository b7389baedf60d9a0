#!/bin/bash
# Every command that the documents show in a block marked "sh" is run, in order, in one folder: the
# how-to continues the tutorial. A command that fails is reported with its output.
set -u
PATH=$(dirname "$(readlink -f "$COLOSSUS")"):$PATH
[[ -d /usr/share/games/fortunes ]] || { echo "Debian's package fortunes is missing"; exit 77; }
bad=0
for page in tutorial how-to site-tutorial; do
    n=0
    while IFS= read -r -d '' block; do
        n=$((n + 1))
        # A server that a failing block leaves behind would be waited for.
        output=$(bash -euo pipefail -c 'trap "kill \$(jobs -p) 2>/dev/null || true" EXIT
'"$block" 2>&1)
        rc=$?
        if [[ $rc -eq 0 ]]; then
            echo "ok docs: $page, block $n"
        else
            printf '%s\n' "$block" "$output"
            echo "not ok docs: $page, block $n: exit code $rc"
            bad=1
        fi
    done < <(awk '/^```sh$/ { on = 1; next } /^```$/ { if (on) printf "%c", 0; on = 0 } on' \
        "$COLOSSUS_ROOT/docs/$page.md")
    [[ $n -gt 3 ]] || { echo "not ok docs: $page: only $n blocks were found"; bad=1; }
done
exit $bad
