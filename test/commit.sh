#!/bin/sh
# Prints the commit that is checked out, with -dirty behind it when a tracked file differs; reports
# and their picture do not count. For the heads of reports.
cd "$(dirname "$0")/.." || exit 1

commit=$(git describe --always 2>/dev/null) || { echo unknown; exit; }
git diff --quiet HEAD -- . ':!*.md' ':!bench/speed.svg' || commit=$commit-dirty
echo "$commit"
