#!/bin/bash
# `make install` puts a program that runs, its presets, documents and shell completion below PREFIX,
# and nothing elsewhere; `make uninstall` takes them away again. With the installed program every
# example of every help is run, in an empty folder, in the order of the commands: what one makes the
# next ones use.
set -u
bad=0
report() {
    if [[ $2 -eq 0 ]]; then echo "ok $1"; else echo "not ok $1: see above"; bad=1; fi
}
build=${COLOSSUS_BUILD#"$COLOSSUS_ROOT"/}
stage="$PWD/a stage"
prefix=/opt/colossus
install() {
    make -s -C "$COLOSSUS_ROOT" "$1" B="$build" DESTDIR="$stage" PREFIX=$prefix
}
(umask 077 && install install)
report "install: make install" $?
at=$stage$prefix
program=$at/bin/colossus
[[ $("$program" --version) == "$("$COLOSSUS" --version)" ]]
report "install: the program runs" $?
! readelf -S "$program" | grep -q '\.debug_info'
report "install: the program is stripped" $?
bash -n "$at/share/bash-completion/completions/colossus" && grep -q _colossus "$_" &&
    grep -q '^#compdef colossus' "$at/share/zsh/site-functions/_colossus" &&
    grep -q '^complete -c colossus' "$at/share/fish/vendor_completions.d/colossus.fish"
report "install: shell completion" $?
diff -r "$COLOSSUS_ROOT/presets" "$at/share/colossus/presets"
report "install: presets" $?
[[ -z $(find "$stage" ! -perm -a+r) && -z $(find "$stage" -type d ! -perm -a+x) ]]
report "install: everybody may read it" $?

# Every link of a document that is no address leads to a file.
broken=0
while IFS= read -r page; do
    while IFS= read -r link; do
        [[ -e ${page%/*}/${link%%#*} ]] || { echo "${page#"$at"/}: $link"; broken=1; }
    done < <(grep -oE '\]\([^)#][^)]*\)' "$page" | sed 's/^](//; s/)$//' | grep -v '^https\?:')
done < <(find "$at/share/doc/colossus" -name '*.md')
[[ $broken -eq 0 && -s $at/share/doc/colossus/docs/tutorial.md && -s $at/share/doc/colossus/LICENSE ]]
report "install: the links of the documents" $?
[[ $(find "$stage" -type f -not -path "$at/*" | wc -l) -eq 0 ]]
report "install: nothing outside PREFIX" $?

# examples TABLE: the last paragraph of a help, where it is indented
examples() {
    "$program" help $1 | awk -v table="$1" '
        /^usage: colossus/ { on = ($0 ~ "^usage: colossus " table "( [^a-z]|$)") }
        /^$/ { text = ""; next }
        on { text = text substr($0, 3) "\n"; if ($0 !~ /^  /) text = ""; last = text }
        !on && last { exit }
        END { printf "%s", last }'
}
mkdir -p empty && cd empty || exit 1
PATH=$at/bin:$PATH
[[ -d /usr/share/games/fortunes ]] || { echo "skip install: examples of help: fortunes"; exit $bad; }
tables=$("$program" help --markdown | sed -n 's/^## colossus //p')
[[ $(wc -l <<<"$tables") -gt 15 ]] || { echo "$tables"; report "install: the helps are found" 1; }
while IFS= read -r table; do
    # their examples name files that others publish, and streams of others
    [[ $table != "data convert-tokenizer" && $table != "feed follow" ]] || continue
    text=$(examples "$table")
    # One round of measuring is enough here. A server serves until it is told to stop; of its other
    # examples two name files of their user's, and one asks a server that is running.
    quick=$(sed -e 's/colossus bench-machine/& --rounds 1/' \
        -e 's/colossus serve/timeout --preserve-status 5 & --port 0/' \
        -e '/model\.gguf/d' -e '/--feed posts/d' -e '/^curl/d' \
        -e 's/colossus bench-serve.*/& --rounds 1 --requests 3 --prompt 2 --answer 4/' \
        -e 's#http://127.0.0.1:808[01]/v1#"$url"#g' <<<"$text")
    # What measures servers gets one, for the time of its examples.
    [[ $table != bench-serve ]] || quick="timeout 120 colossus serve runs/fortunes --port 0 >served &
server=\$!
until grep -q /v1 served; do kill -0 \$server; sleep 0.1; done
url=\$(grep -o 'http[^,]*' served)
$quick
kill -TERM \$server; wait \$server || true"
    [[ $text == *colossus* ]] && out=$(bash -euo pipefail -c "$quick" 2>&1 </dev/null) ||
        { printf '%s\n' "$text" "$out"; false; }
    report "install: examples of help $table" $?
done <<<"$tables"

cd .. && install uninstall && [[ -z $(find "$stage" ! -type d) && ! -e $at/share/doc/colossus ]]
report "install: make uninstall" $?
exit $bad
