#!/bin/bash
# The watchmen are watched: each check of tools/ must find the offence that is planted in a small
# tree of its own, and say nothing about a clean one; the test runner must notice what goes wrong.
set -u
root=$COLOSSUS_ROOT
bad=0

report() { # NAME, condition's exit code
    if [[ $2 -eq 0 ]]; then echo "ok $1"; else echo "not ok $1: see above"; bad=1; fi
}

# A clean tree: two rooms, text above model.
plant() {
    rm -rf tree && mkdir -p tree/tools tree/src/text tree/src/model tree/tests/unit tree/tests/cli
    cp "$root"/tools/{check-layers,check-banned,run-tests} tree/tools/
    printf 'text\nmodel\n' > tree/src/LAYERS
    printf 'int text_f(void);\n' > tree/src/text/text.h
    printf '#include "text/text.h"\n\nint text_f(void)\n{\n    return 1;\n}\n' > tree/src/text/text_f.c
    printf 'int model_f(void);\n' > tree/src/model/model.h
    printf '#include "model/model.h"\n#include "text/text.h"\n' > tree/src/model/model_f.c
}

# finds NAME TOOL PATTERN: the tool fails and says the pattern
finds() {
    local out rc
    out=$("tree/tools/$2" 2>&1)
    rc=$?
    [[ $rc -ne 0 && $out == *$3* ]] || { echo "exit code $rc: $out"; false; }
    report "$1" $?
}

for tool in check-layers check-banned; do
    plant
    out=$("tree/tools/$tool" 2>&1) || echo "$out"
    [[ -z $out ]]
    report "$tool says nothing about a clean tree" $?
done

plant; printf '#include "model/model.h"\n' >> tree/src/text/text_f.c
finds "layers: a room below is included" check-layers "src/text/text_f.c:7: text may not include model"
plant; printf 'int x;\n' > tree/src/text/text_x_internal.h
printf '#include "text/text_x_internal.h"\n' >> tree/src/model/model_f.c
finds "layers: an internal header of another room" check-layers "is not the public header of text"
plant; printf 'int x;\n' > tree/src/text/text_more.h
finds "layers: a second public header" check-layers "_internal.h"
plant; printf 'int x;\n' > tree/src/text/other.c
finds "layers: a file without its room's word" check-layers "must begin with 'text'"
plant; mkdir tree/src/text/deep; cp tree/src/text/text_f.c tree/src/text/deep/
finds "layers: the same name twice" check-layers "used again"
plant; mkdir tree/src/cellar; printf 'int x;\n' > tree/src/cellar/cellar.c
finds "layers: a room that is not in the list" check-layers "'cellar' is not a room"
plant; { echo '{'; for i in {1..101}; do echo '    x();'; done; echo '}'; } >> tree/src/text/text_f.c
finds "layers: a function of 101 lines" check-layers "function of 101 lines"
plant; for i in {1..900}; do echo '/* x */'; done >> tree/src/text/text_f.c
finds "layers: a file of more than 900 lines" check-layers "906 lines"

plant; printf 'void f(char *s)\n{\n    sprintf(s, "x");\n}\n' >> tree/src/text/text_f.c
finds "banned: sprintf" check-banned "src/text/text_f.c:9: 'sprintf('"
plant; printf '/* sprintf(x) is banned */\nconst char *s = "strcpy(";\n' >> tree/src/text/text_f.c
out=$(tree/tools/check-banned 2>&1)
[[ -z $out ]]
report "banned: comments and strings are no code" $?
plant; printf 'void f(void)\n{\n    exit(1);\n}\n' >> tree/src/text/text_f.c
finds "banned: exit below cmd" check-banned "only cmd/ ends the process"
plant; printf 'void *p = malloc(1);\n' >> tree/src/text/text_f.c
finds "banned: malloc outside base" check-banned "allocate through base"
plant; printf 'see /%s/someone/notes\n' home > tree/README.md
finds "banned: a path of one machine" check-banned "README.md:1: '/h""ome/s'"
plant; printf 'fetch it from 192.168.%s.7\n' 3 > tree/README.md
finds "banned: a network address" check-banned "a network address"

# ---------------------------------------------------------------- run-tests
plant
cat > tree/tests/cli/cli_x.test <<'CASES'
=== right
$ printf 'a\nb 17 c\nmore\nand more\nend\n'
a
b ... c
...
end
=== wrong output
$ echo one
two
=== wrong exit code
$ exit 3
=== expected exit code
$ exit 3
? 3
=== a file and its content
<<< sub/x.txt
first
\<<< second
<<<
$ cat sub/x.txt
first
\<<< second
=== not here
needs false
$ echo never
CASES
printf 'echo "skip one: no tape drive"; echo "ok two"\n' > tree/tests/system.sh
mkdir tree/tests/system && mv tree/tests/system.sh tree/tests/system/a.sh
printf 'echo "a GPU is missing"; exit 77\n' > tree/tests/system/b.sh
printf 'echo "half way"; exit 1\n' > tree/tests/system/c.sh
printf 'kill -SEGV $$\n' > tree/tests/system/d.sh
printf 'sleep 100\n' > tree/tests/system/e.sh
out=$(tree/tools/run-tests --build tree/build --timeout 2 2>&1)
rc=$?
[[ $rc -eq 1 ]]; report "run-tests: exit code 1 after a failure" $?
[[ ${out##*$'\n'} == "4 passed, 5 failed, 3 skipped" ]] || echo "$out"
[[ ${out##*$'\n'} == "4 passed, 5 failed, 3 skipped" ]]
report "run-tests: the last line counts everything" $?
for part in "a GPU is missing" "one: no tape drive" "'false' fails here" "did not end in time" \
    "SIGSEGV" "half way" "expected exit code 0, but: exit code 3"; do
    [[ $out == *"$part"* ]] || echo "$out"
    [[ $out == *"$part"* ]]
    report "run-tests: says '$part'" $?
done
rm -f tree/tests/system/[cde].sh tree/tests/cli/*
tree/tools/run-tests --build tree/build > /dev/null 2>&1
report "run-tests: exit code 0 when nothing failed" $?
rm -f tree/tests/system/a.sh
! tree/tools/run-tests --build tree/build > /dev/null 2>&1
report "run-tests: nothing that passed is not success" $?
exit $bad
