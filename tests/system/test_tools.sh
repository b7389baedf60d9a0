#!/bin/bash
# The watchmen are watched: each check of tools/ must find the offence that is planted in a small
# tree of its own, and say nothing about a clean one; the test runner must notice what goes wrong.
set -u
root=$COLOSSUS_ROOT
bad=0

report() { # NAME, condition's exit code
    if [[ $2 -eq 0 ]]; then echo "ok $1"; else echo "not ok $1: see above"; bad=1; fi
}

# put FILE: standard input becomes tree/src/FILE; add FILE LINE...: lines are added to it.
put() {
    mkdir -p "$(dirname "tree/src/$1")" && cat > "tree/src/$1"
}
add() {
    printf '%s\n' "${@:2}" >> "tree/src/$1"
}

# A clean tree with one of everything that is allowed and looks like something that is not: names of
# rooms below in comments, strings, members, tags, parameters and static functions; a file that
# joins sub-rooms; a room that stands above its last sub-room; a folder that is not listed.
build_tree() {
    mkdir -p tree/tools tree/tests/unit tree/tests/cli
    cp "$root"/tools/{check-layers,check-banned,check-docs,c_source.py,run-tests} tree/tools/
    put LAYERS <<'END'
# from the ground up
text
model
plan/step         not text cluster
plan/show         not text
train/checkpoint
train
cluster           # planned: no folder yet
cmd
END
    put main.c <<< '#include "cmd/cmd.h"'
    put cmd/cmd.h < /dev/null
    put text/text.h <<< '/* text.h: text_f.c, src/text/text_*.c, text_<what>.c, as in llm.c. */
int text_f(int a);'
    put text/text_f.c <<'END'
#include "text/text.h"

/* model_f() is no use. */
int text_f(int model_f)
{
    const struct model_f { int plan_show; } pair = {.plan_show = model_f};
    return pair.plan_show + "plan_show("[0];
}
END
    put model/model.h <<< 'int model_f(void);'
    put model/model_f.c <<'END'
#include "model/model.h"
#include "text/text.h"

static int plan_show(int a, int b, int c, int d, int e, int (*f)(int, int))
{
    return f(a, b) + c + d + e;
}
int model_f(void)
{
    return plan_show(1, 2, 3, 4, 5, 0) + text_f(1);
}
END
    put model/x86/model_x86_f.c <<< '#include "text/text.h"'
    put plan/plan.h <<< $'int plan_step(void);\nint plan_show(void);\nint plan_join(void);'
    put plan/plan_internal.h <<< '#include "plan/plan.h"'
    put plan/plan_join.c <<'END'
#include "plan/show/plan_show_internal.h"
int plan_join(void)
{
    return plan_show() + plan_names[0];
}
END
    put plan/step/plan_step_internal.h <<< 'int plan_step_part(void);'
    put plan/step/plan_step.c <<'END'
#include "model/model.h"
#include "plan/plan_internal.h"
#include "plan/step/plan_step_internal.h"
int plan_step_part(void)
{
    return model_f();
}
int plan_step(void)
{
    return plan_step_part();
}
END
    put plan/show/plan_show_internal.h <<< 'extern const int plan_names[2];'
    put plan/show/plan_show.c <<'END'
#include "plan/plan_internal.h"
#include "plan/show/plan_show_internal.h"
#include "plan/step/plan_step_internal.h"
const int plan_names[2] = {1, 2};
int plan_show(void)
{
    return plan_step_part();
}
END
    put train/train.h <<< 'int train_f(void);'
    put train/train_internal.h <<< '#include "text/text.h"'
    put train/train_f.c <<'END'
#include "train/checkpoint/train_checkpoint_internal.h"
#include "train/train.h"
int train_f(void)
{
    return train_checkpoint();
}
END
    put train/checkpoint/train_checkpoint_internal.h <<< 'int train_checkpoint(void);'
    put train/checkpoint/train_checkpoint.c <<'END'
#include "train/checkpoint/train_checkpoint_internal.h"
#include "train/train_internal.h"
int train_checkpoint(void)
{
    return text_f(2);
}
END
}

build_tree && mv tree clean
plant() {
    rm -rf tree && cp -r clean tree
}

# finds NAME TOOL PATTERN: the tool fails and says the pattern
finds() {
    local out rc
    out=$("tree/tools/$2" 2>&1)
    rc=$?
    [[ $rc -ne 0 && $out == *$3* ]] || { echo "exit code $rc: $out"; false; }
    report "$1" $?
}

for tool in check-layers check-banned check-docs; do
    plant
    out=$("tree/tools/$tool" 2>&1) || echo "$out"
    [[ -z $out ]]
    report "$tool says nothing about a clean tree" $?
done

# layers NAME PATTERN: check-layers finds in the planted tree what the pattern says
layers() {
    finds "layers: $1" check-layers "$2"
}
step=plan/step/plan_step.c

# ---------------------------------------------------------------- includes
plant; add text/text_f.c '#include "model/model.h"'
layers "a room below is included" "text_f.c:9: text may not include model/model.h: model stands"
plant; put text/text_x_internal.h < /dev/null
add model/model_f.c '#include "text/text_x_internal.h"'
layers "an internal header of another room" "it is not the public header of text"
plant; add $step '#include "plan/show/plan_show_internal.h"'
layers "a header of a sub-room below" "plan/show stands below plan/step"
plant; add $step '#include "text/text.h"'
layers "a room after 'not'" "plan_step.c:12: plan/step may not include text/text.h: src/LAYERS says"
plant; put plan/show/plan_show_html.c <<< '#include "text/text.h"'
layers "a room after 'not', in the next sub-room" "plan/show may not include text/text.h"
plant; add plan/plan_join.c '#include "text/text.h"'
layers "what no sub-room may know, in the file that joins them" "plan may not include text/text.h"
plant; put model/x86/model_x86_g.c <<< '#include "plan/plan.h"'
layers "a folder that is not listed belongs to its room" "model may not include plan/plan.h"
plant; add $step '#include <text/text.h>'
layers "one of our headers between angle brackets" 'write it as "room/room.h"'
plant; add model/model_f.c '#include "model.h"'
layers "a header without its room" "is not in src/"
plant; put text/text_x_internal.h < /dev/null
add model/model_f.c '#include "model/../text/text_x_internal.h"'
layers "a path that climbs" "is not in src/"
plant; add main.c '#include "text/text.h"'
layers "main.c includes a room" "main.c includes cmd/cmd.h and nothing else"
plant; add model/model.h '#include "text/text.h"'
layers "a header brings in what its includer may not know" \
    "plan_step.c:1: plan/step may not know text/text.h, which model/model.h brings in"
plant; add plan/plan_internal.h '#include "plan/show/plan_show_internal.h"'
layers "a header of the room brings in a sub-room below" \
    "plan/step may not know plan/show/plan_show_internal.h, which plan/plan_internal.h brings in"

# ---------------------------------------------------------------- uses and declarations
plant; add $step 'static int up(void)' '{' '    return plan_show();' '}'
layers "a call of a sub-room below" "src/$step:14: plan/step may not use 'plan_show' of plan/show \
(src/plan/show/plan_show.c): plan/show stands below plan/step"
plant; add $step 'int (*const plan_calls[])(void) = {plan_show};'
layers "a table of functions of a sub-room below" "$step:12: plan/step may not use 'plan_show'"
plant; add plan/plan.h 'extern const int plan_names[2];'
add $step 'static int up(void)' '{' '    return plan_names[0];' '}'
layers "an object of a sub-room below" "$step:14: plan/step may not use 'plan_names' of plan/show"
plant; add plan/plan_internal.h '#define PLAN_UP(x) (plan_show() + (x))'
layers "a macro of the room's header that calls a sub-room below" \
    "plan_internal.h:2: plan/step may not use 'plan_show'"
plant; add $step 'static int up(void)' '{' '    return plan_join();' '}'
layers "a call of a file that joins the sub-rooms" "may not use 'plan_join' of plan (src/plan/plan_"
plant; add train/checkpoint/train_checkpoint.c '#include "train/train.h"' \
    'static int up(void)' '{' '    return train_f();' '}'
layers "a call of the room from its sub-room" "train/checkpoint may not use 'train_f' of train"
plant; add $step 'int text_f(int a);' 'static int up(void)' '{' '    return text_f(1);' '}'
layers "a call of a room after 'not'" "$step:15: plan/step may not use 'text_f' of text"
layers "a declaration outside a header" "$step:12: declares 'text_f' of src/text/text_f.c"
plant; add model/x86/model_x86_f.c 'int plan_step(void);' \
    'int model_g(void)' '{' '    return plan_step();' '}'
layers "a call of a room below" "model may not use 'plan_step' of plan/step"
plant; add plan/step/plan_step_internal.h 'int plan_show(void);'
layers "a sub-room's header declares another's function" "'plan_show', which plan/step does not"
plant; add plan/show/plan_show_internal.h 'extern int plan_ghost, plan_names[2];'
layers "a declaration of nothing" "declares 'plan_ghost', which plan/show does not define \
(it is defined in: no file)"
plant; add text/text.h 'int model_f(void);'
layers "a room's header declares another room's function" "'model_f', which text does not define"
plant; put text/text_more.h < /dev/null
layers "a second public header" "_internal.h"
plant; put plan/step/plan.h < /dev/null
layers "a public header in a sub-room" "src/plan/step/plan.h: a header is plan.h or ends in"

# ---------------------------------------------------------------- places and sizes
plant; put text/other.c < /dev/null
layers "a file without its room's word" "must begin with 'text'"
plant; put text/deep/text_f.c < /dev/null
layers "the same name twice" "used again"
plant; printf '' > tree/tests/unit/text_f.c
layers "the same name in the tests" "used again: tests/unit/text_f.c"
plant; put cellar/cellar.c < /dev/null
layers "a room that is not in the list" "'cellar' is not a room"
plant; put other.c < /dev/null
layers "a file outside the rooms" "src/other.c: belongs into a room"
plant; add text/text_f.c 'int text_g(void)' '{'
layers "a file that cannot be read" "braces do not balance"
plant; add text/text_f.c 'void text_g(void)' '{'
for i in {1..101}; do add text/text_f.c '    x();'; done; add text/text_f.c '}'
layers "a function of 101 lines" "function of 101 lines"
plant; for i in {1..900}; do echo '/* x */'; done >> tree/src/text/text_f.c
layers "a file of more than 900 lines" "908 lines"
plant; for i in {1..19}; do put plan/step/plan_$i.c < /dev/null; done
layers "a folder of 21 files" "src/plan/step: 21 files"
plant; add text/text_f.c 'static int g(int a, int *b, char c[2], int d, int (*e)(int, int),' \
    '             int f, struct x *g)' '{' '    return 0;' '}'
layers "a static function of seven parameters" "text_f.c:9: 'g' has 7 parameters"
layers "the count of a kind" "check-layers: 1 of kind 'parameters'"

# ---------------------------------------------------------------- the list itself
plant; add LAYERS 'text'
layers "the list names a folder twice" "src/LAYERS:10: 'text' stands here twice"
layers "the list tears a room apart" "the lines of 'text' do not stand together"
plant; add LAYERS 'plain/attic'
layers "the list names a sub-room that is not there" "there is no folder src/plain/attic"
plant; add LAYERS 'feed not txet'
layers "the list forbids a room that is not there" "src/LAYERS:10: 'txet' is not in this list"
plant; add LAYERS 'feed note text'
layers "a line of the list that says nothing" "src/LAYERS:10: a line is"

# What check-layers reads in the source is what the compiler made of it.
while read -r object; do
    file=src/${object#"$COLOSSUS_BUILD"/} && file=${file%.o}.c
    [[ -f $root/$file ]] && nm -g "$object" | sed "s|^.* \([A-Za-z]\) |\1 |; s|^|$file |"
done < <(find "$COLOSSUS_BUILD" -name '*.o') > nm.txt
awk '$2 != "U" { print $3 }' nm.txt | sort -u > ours.txt
awk 'NR == FNR { ours[$1]; next }
    $2 != "U" { print "defines", $1, $3 }
    $2 == "U" && $3 in ours { print "uses", $1, $3 }' ours.txt nm.txt | sort -u > compiled.txt
"$root/tools/check-layers" --symbols | sort -u > read.txt
comm -23 compiled.txt read.txt | tee unseen.txt
[[ $(wc -l < compiled.txt) -gt 2000 && ! -s unseen.txt ]]
report "layers: every symbol that the objects define and use is seen" $?

# ---------------------------------------------------------------- check-banned
plant; printf 'void f(char *s)\n{\n    sprintf(s, "x");\n}\n' >> tree/src/text/text_f.c
finds "banned: sprintf" check-banned "src/text/text_f.c:11: 'sprintf('"
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

# ---------------------------------------------------------------- check-docs
# prose COLUMNS: a line of words as long as that
prose() {
    printf '%*s' "$1" '' | sed 's/...../word /g'
}
plant; mkdir -p tree/docs/decisions
{ prose 100; echo; echo "| $(prose 120) |"; echo '```'; prose 120; echo; echo '```'; echo
  echo "    $(prose 120)"; echo; echo "$(prose 80)[a link](https://example.com/that/is/long)"
  echo 'See `text_f.c`, `src/{text,model}/*_f.c` and (text_f.c); text_gone.c stands in plain prose.'
} | tee tree/README.md tree/docs/page.md > tree/docs/decisions/page.md
out=$(tree/tools/check-docs 2>&1) || echo "$out"
[[ -z $out ]]
report "docs: what may be long and names that are there" $?
for page in README.md docs/page.md docs/decisions/page.md; do
    plant; mkdir -p tree/docs/decisions; printf '\n%s\n' "$(prose 99)xy" > "tree/$page"
    finds "docs: prose of 101 columns in $page" check-docs "$page:2: 101 columns"
done
plant; echo "$(prose 110)[link](https://example.com)" > tree/README.md
finds "docs: a link that could begin on the next line" check-docs "README.md:1: 137 columns"
plant; echo 'It is in `text_gone.c`.' > tree/README.md
finds "docs: a dead name between backticks" check-docs "README.md:1: there is no file 'text_gone.c'"
plant; echo 'It is there (see src/model/text_f.c).' > tree/README.md
finds "docs: a file in another folder" check-docs "there is no file 'src/model/text_f.c'"
plant; echo 'They are in `text_{f,gone}.c`.' > tree/README.md
finds "docs: one of two names" check-docs "there is no file 'text_gone.c'"
plant; add text/text_f.c '/* the rest:' ' * text_gone.h */' 'const char *s = "other_gone.h";'
finds "docs: a dead name in a comment" check-docs "text_f.c:10: there is no file 'text_gone.h'"

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
