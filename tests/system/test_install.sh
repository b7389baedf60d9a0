#!/bin/bash
# `make install` puts a program that runs, its presets, documents and shell completion below PREFIX,
# and nothing elsewhere.
set -u
bad=0
report() {
    if [[ $2 -eq 0 ]]; then echo "ok $1"; else echo "not ok $1: see above"; bad=1; fi
}
build=${COLOSSUS_BUILD#"$COLOSSUS_ROOT"/}
make -s -C "$COLOSSUS_ROOT" install B="$build" DESTDIR="$PWD/stage" PREFIX=/opt/colossus
report "install: make install" $?
at=stage/opt/colossus
[[ $("$at/bin/colossus" --version) == "$("$COLOSSUS" --version)" ]]
report "install: the program runs" $?
bash -n "$at/share/bash-completion/completions/colossus" && grep -q _colossus "$_"
report "install: shell completion" $?
[[ -s $at/share/doc/colossus/ARCHITECTURE.md ]]
report "install: documents" $?
if [[ -d $COLOSSUS_ROOT/presets ]]; then
    diff -r "$COLOSSUS_ROOT/presets" "$at/share/colossus/presets"
    report "install: presets" $?
fi
# from a folder without presets, a name is found where they were installed
mkdir -p empty && (cd empty && "../$at/bin/colossus" plan laptop) | grep -q 'days'
report "install: the program finds its presets" $?
[[ $(find stage -type f -not -path "$at/*" | wc -l) -eq 0 ]]
report "install: nothing outside PREFIX" $?
exit $bad
