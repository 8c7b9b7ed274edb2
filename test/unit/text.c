/* Tests of text.c: any bytes as a string of JSON and as a label's value. */
#include "../../base/buf.c"
#include "unit.h"

static const struct { struct span in; const char *json, *label; } cases[] = {
	{ TEXT(""), "", "" },
	{ TEXT("orders 1"), "orders 1", "orders 1" },
	{ TEXT("a\"b\\c/d"), "a\\\"b\\\\c/d", "a\\\"b\\\\c/d" },
	{ TEXT("a\nb\tc\rd"), "a\\nb\\tc\\rd", "a\\nb c d" },
	{ TEXT("\x00\x01\x1b\x1f\x7f"), "\\u0000\\u0001\\u001b\\u001f\\u007f", "     " },
	{ TEXT("gr\xc3\xb6\xc3\x9f" "e \xe2\x82\xac \xf0\x9f\x90\x98"), "gr\xc3\xb6\xc3\x9f"
		"e \xe2\x82\xac \xf0\x9f\x90\x98", "gr\xc3\xb6\xc3\x9f" "e \xe2\x82\xac"
		" \xf0\x9f\x90\x98" },
	{ TEXT("\xff"), "\xef\xbf\xbd", "\xef\xbf\xbd" },
	{ TEXT("a\xc3"), "a\xef\xbf\xbd", "a\xef\xbf\xbd" },                      /* cut off */
	{ TEXT("\xc3("), "\xef\xbf\xbd(", "\xef\xbf\xbd(" },
	{ TEXT("\x80x"), "\xef\xbf\xbdx", "\xef\xbf\xbdx" },                      /* no beginning */
	/* overlong */
	{ TEXT("\xc0\xaf"), "\xef\xbf\xbd\xef\xbf\xbd", "\xef\xbf\xbd\xef\xbf\xbd" },
	{ TEXT("\xe0\x9f\xbf"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
		"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	{ TEXT("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
		"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },       /* a surrogate */
	{ TEXT("\xed\x9f\xbf\xee\x80\x80"), "\xed\x9f\xbf\xee\x80\x80",
		"\xed\x9f\xbf\xee\x80\x80" },
	{ TEXT("\xf4\x8f\xbf\xbf"), "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" },
	/* over U+10FFFF */
	{ TEXT("\xf4\x90"), "\xef\xbf\xbd\xef\xbf\xbd", "\xef\xbf\xbd\xef\xbf\xbd" },
	{ TEXT("\xf0\x8f\xbf\xbf"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
		"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
};

static void check_text(const char *about, size_t (*function)(char *, size_t, struct span),
	struct span in, size_t size, const char *wanted)
{
	char out[256];

	memset(out, '#', sizeof out);
	size_t n = function(out, size, in);
	check_span(about, in, (struct span){ out, n }, span_of(wanted));
	check_int("writes no further", out[n], '#');
}

static void test_numbers(void)
{
	static const struct { int64_t n; const char *wanted; } numbers[] = {
		{ 0, "0" }, { 12, "12" }, { 999, "999" }, { 1000, "1,000" }, { 123456,
			"123,456" }, { 1234567, "1,234,567" },
		{ -1234, "-1,234" }, { -123, "-123" }, { INT64_MAX, "9,223,372,036,854,775,807" },
		{ INT64_MIN, "-9,223,372,036,854,775,808" },
	};
	char text[TEXT_GROUPED];

	for (size_t i = 0; i < COUNT(numbers); i++)
		check_str(numbers[i].wanted, text_grouped(numbers[i].n, text), numbers[i].wanted);
}

int main(void)
{
	for (size_t i = 0; i < COUNT(cases); i++) {
		check_text("json", text_json, cases[i].in, 200, cases[i].json);
		check_text("label", text_label, cases[i].in, 200, cases[i].label);
		check_int("grows by TEXT_GROWTH at most",
			strlen(cases[i].json) <= TEXT_GROWTH * cases[i].in.n, 1);
	}
	/* whole characters, as many as there is room for */
	check_text("an escape does not fit", text_json, span_of("a\"b"), 2, "a");
	check_text("an escape fits", text_json, span_of("a\"b"), 3, "a\\\"");
	check_text("a control byte does not fit", text_json, span_of("a\x01"), 6, "a");
	check_text("a character does not fit", text_json, span_of("\xe2\x82\xac"), 2, "");
	check_text("a replacement does not fit", text_json, span_of("\xff"), 2, "");
	check_text("no room", text_json, span_of("a"), 0, "");
	check_text("a line", text_line, (struct span)TEXT("a\x1b[2J\x07\n\tb\x7f\xff\xc3\xa9"), 200,
		"a\\x1b[2J\\x07  b\\x7f\xef\xbf\xbd\xc3\xa9");
	check_text("a page", text_page, (struct span)TEXT("a\x1b[2J\r\n\tb"), 200, "a\\x1b[2J \n"
		"\tb");
	check_text("C1 in UTF-8", text_line, (struct span)TEXT("\xc2\x9bm\xc2\xa0"), 200,
		"\\x9bm\xc2\xa0");
	check_text("C1 in JSON", text_json, (struct span)TEXT("\xc2\x9bm"), 200, "\\u009bm");
	check_text("order of text", text_line,
		(struct span)TEXT("\xe2\x80\xae\xe2\x81\xa6\xe2\x82\xac"), 200,
		"\\u202e\\u2066\xe2\x82\xac");
	check_text("no room for an escape", text_line, (struct span)TEXT("a\x1b"), 4, "a");
	check_int("UTF-8", text_is_utf8(span_of("gr\xc3\xb6\xe2\x82\xac")) &&
		text_is_utf8(span_of("")), 1);
	check_int("cut off", text_is_utf8(span_of("gr\xc3")), 0);
	check_int("a surrogate", text_is_utf8(span_of("\xed\xa0\x80")), 0);
	test_numbers();
	return unit_end();
}
