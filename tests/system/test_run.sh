#!/bin/bash
# The first commands of a stranger: ./run and tools/deps, with programs of the system replaced by
# stubs that say what they are asked. Nothing is installed.
set -u
root=$COLOSSUS_ROOT
bad=0
report() {
    if [[ $2 -eq 0 ]]; then echo "ok $1"; else echo "not ok $1: see above"; bad=1; fi
}

# tree: ./run, tools/deps and stubs of make, the demo and the test runner, in a folder with a blank.
tree="$PWD/a tree"
mkdir -p "$tree/tools" "$tree/build/gcc" stubs
cp "$root/run" "$tree/"
cp "$root/tools/deps" "$tree/tools/"
printf '#!/bin/sh\necho "demo: $*"\n' >"$tree/tools/demo.sh"
printf '#!/bin/sh\necho "tests: $*"\necho "3 passed, 0 failed, 0 skipped"\n' >"$tree/tools/run-tests"
ln -s build/gcc/colossus "$tree/colossus"
cat >stubs/make <<'END'
#!/bin/sh
echo "make: $*"
END
cat >stubs/apt-get <<'END'
#!/bin/sh
echo "apt-get: $*"
END
cat >stubs/dpkg-query <<'END'
#!/bin/sh
for p; do :; [ "$p" = "${HAVE-none}" ] || [ "${HAVE-none}" = all ] && echo "installed $p"; done
END
printf '#!/bin/sh\nexit 1\n' >stubs/sudo
printf '#!/bin/sh\necho ${USER_ID:-0}\n' >stubs/id
chmod +x stubs/* "$tree"/tools/*
run() { # as somebody types it, by its path
    PATH=$PWD/stubs:$PATH MAKEFLAGS='' "$tree/run" "$@"
}

USER_ID=1000 run demo >out 2>err </dev/null
[[ $? -eq 1 && ! -s out && $(wc -l <err) -eq 1 ]] &&
    grep -q "only root may install.*'apt-get install gcc make libc6-dev .* fortunes .*'$" err
report "run: without root, one sentence that names packages and command" $?

run test >out 2>&1 </dev/null
[[ $? -eq 0 && $(tail -n 1 out) == "3 passed, 0 failed, 0 skipped" ]] &&
    grep -q '^apt-get: .*install gcc make .* libcmocka-dev python3 ' out &&
    grep -q '^make: .*-j[0-9].* tested$' out && grep -q '^tests: --build build/gcc$' out
report "run: as root, what is missing is installed; the sum is the last line" $?
! grep -qE 'clang|cppcheck' out
report "run: a user gets no tools of developers" $?

HAVE=all run deps-dev >out 2>&1
[[ $? -eq 0 && ! -s out ]]
report "run: nothing is asked where all is installed" $?
run deps-dev >out 2>&1 && grep -q 'clang-14.*cppcheck' out
report "run: deps-dev has them" $?

(cd / && HAVE=all PATH=$OLDPWD/stubs:$PATH sh "$tree/run" demo --fresh) <&- >out 2>&1
[[ $? -eq 0 && $(tail -n 1 out) == "demo: --fresh" ]]
report "run: from another folder, without standard input" $?

run >out 2>&1
[[ $? -eq 2 ]] && grep -q '^usage: ./run COMMAND' out && run help >out && run dmeo 2>out
[[ $? -eq 2 ]] && grep -q "no command 'dmeo'" out
report "run: usage" $?

printf '#!/bin/sh\nexit 2\n' >stubs/make
HAVE=all run test >out 2>&1
[[ $? -eq 1 && $(tail -n 1 out) == "run: the program was not built"* ]]
report "run: what is not built is not tested" $?

rm stubs/make
make -s -C "$root" B="$PWD/none" HEADERS=no_such_header.h >out 2>&1
[[ $? -ne 0 ]] && grep -q "^make: the compiler or a library is missing" out
report "run: make alone says what is missing" $?
PATH=$PWD/stubs:$PATH HAVE=gcc make -s -C "$root" B="$PWD/none" HEADERS=no_such_header.h >out 2>&1
grep -q "'./run deps' installs make libc6-dev .*-dev$" out
report "run: make alone names what to run" $?
exit $bad
