# Makes of ROOT/versions, which deps/build.sh writes, what --version -v prints. Each line has NAME
# VERSION DEBIAN_REVISION SHA256; DEBIAN_REVISION is - for a source that is not Debian's.
NF != 4 { print FILENAME ": not NAME VERSION DEBIAN_REVISION SHA256: " $0 >"/dev/stderr"; exit 1 }
{ printf "  %s %s%s, source with SHA-256 %s\n", $1, $2, $3 == "-" ? "" : " (Debian " $3 ")", $4 }
