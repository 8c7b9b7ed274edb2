# Config files of odd sizes and bytes: read whole, or refused with file and line.
. "$(dirname "$0")/../cases.sh"

shown() {
	LIMIT=90 expect_exit 0 "$STATIC" --show-config "$1"
}

refused() {
	LIMIT=90 expect_exit 2 "$STATIC" --show-config "$1"
	expect_match err "$1: line $2"
}

small_config() {
	SRC=x DST=y
	config
}

# Ten megabytes of comments, of one value's lines, and of keys.
case_ten_megabytes() {
	small_config
	{ cat job.ini; yes '# some words that nobody reads' | head -c 10485760; echo; } >comments.ini
	shown comments.ini
	{ cat job.ini; echo 'fields = a,'; yes '    # nothing' | head -c 10485760; printf '\n    b\n'; } >lines.ini
	shown lines.ini
	expect_match out '^    b$'
	{ cat job.ini; seq -f 'key%.0f = 1' 1 600000; echo 'loop_delay = x'; } >keys.ini
	refused keys.ini "$(wc -l <keys.ini)"
	told "10 MB each: comments, lines of a value, 600,000 keys"
}

case_line_of_five_megabytes() {
	local long
	small_config
	head -c 5242880 /dev/zero | tr '\0' x >long
	sed -n '/^\(src_db\|dst_db\|dest_table\|queue_name\)/p' job.ini >keys
	{ echo '[tdispatch]'; cat keys; printf 'part_template = create table _DEST_TABLE (); -- '; cat long; echo; } >value.ini
	shown value.ini
	[ "$(grep '^part_template' out | wc -c)" -gt 5242880 ] || fail "the value was cut"
	{ cat job.ini; cat long; echo; } >nothing.ini
	refused nothing.ini "$(wc -l <nothing.ini)"
}

case_nul_bytes() {
	small_config
	{ cat job.ini; printf 'fields = a,\0b\n'; } >value.ini
	refused value.ini "$(wc -l <value.ini)"
	{ cat job.ini; printf '# \0\n'; } >comment.ini
	LIMIT=90 expect_exit 2 "$STATIC" --show-config comment.ini
	{ printf '\0'; cat job.ini; } >first.ini
	refused first.ini 1
	head -c 1000000 /dev/zero >zeros.ini
	refused zeros.ini 1
}

case_byte_order_marks() {
	small_config
	{ printf '\xef\xbb\xbf'; cat job.ini; } >utf8.ini
	shown utf8.ini
	{ printf '\xff\xfe'; cat job.ini; } >utf16.ini
	refused utf16.ini 1
	{ printf '\xef\xbb'; cat job.ini; } >cut.ini
	refused cut.ini 1
}

case_no_file() {
	small_config
	mkdir folder.ini
	: >empty.ini
	for file in folder.ini empty.ini missing.ini; do
		expect_exit 2 "$STATIC" --show-config $file
		expect_match err "$file"
	done
}

run_cases
