#!/bin/sh
# Crash and signal tests of whole training runs; what and how: kill_resume.py beside this file.
command -v python3 >/dev/null || { echo "skip kill_resume: python3"; exit 77; }
exec python3 "$(dirname "$0")/kill_resume.py"
