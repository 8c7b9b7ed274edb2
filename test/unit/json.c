/*
 * Tests of event/json.c: RFC 8259's grammar, slices, decoding, and decoding with escapes for COPY.
 *
 * Linked with: base/buf.c urlenc.c
 */
#include "../../event/json.c"
#include "unit.h"

/* ---- splitting: name=[value], NULL for null; or what was read, and !offset where it is refused */

static const struct { struct span text; const char *wanted; } objects[] = {
	{ TEXT("{}"), "" },
	{ TEXT(" \t\r\n{ \t\r\n} \t\r\n"), "" },
	{ TEXT("{\"a\":1}"), "\"a\"=[1]" },
	{ TEXT("{\"a\":1,\"b\":\"x\"}"), "\"a\"=[1] \"b\"=[\"x\"]" },
	{ TEXT(" { \"a\" : 1 , \"b\" : \"x\" } "), "\"a\"=[1] \"b\"=[\"x\"]" },
	{ TEXT("{\"a\":null}"), "\"a\"=NULL" },
	{ TEXT("{\"a\":true,\"b\":false}"), "\"a\"=[true] \"b\"=[false]" },
	{ TEXT("{\"a\":\"null\"}"), "\"a\"=[\"null\"]" },
	{ TEXT("{\"\":\"\"}"), "\"\"=[\"\"]" },
	{ TEXT("{\"a\":1,\"a\":2}"), "\"a\"=[1] \"a\"=[2]" },
	{ TEXT("{\"a\\\"b\":\"c\\\\\"}"), "\"a\\\"b\"=[\"c\\\\\"]" },
	{ TEXT("{\"a\":{},\"b\":[]}"), "\"a\"=[{}] \"b\"=[[]]" },
	{ TEXT("{\"a\":{ \"b\" : [ 1 , { } , null ] }}"),
		"\"a\"=[{ \"b\" : [ 1 , { } , null ] }]" },
	{ TEXT("{\"a\":\"}],\"}"), "\"a\"=[\"}],\"]" },
	{ TEXT("{\"\xc3\xa4\":\"\xf0\x9f\x98\x80\x7f\"}"),
		"\"\xc3\xa4\"=[\"\xf0\x9f\x98\x80\x7f\"]" },
	{ TEXT("{\"a\":\"\\ud800 \\u0000\"}"), "\"a\"=[\"\\ud800 \\u0000\"]" },
	/* the frame */
	{ TEXT(""), "!0" },
	{ TEXT(" "), "!1" },
	{ TEXT("["), "!0" },
	{ TEXT("\"a\""), "!0" },
	{ TEXT("\xef\xbb\xbf{}"), "!0" },
	{ TEXT("\f{}"), "!0" },
	{ TEXT("{"), "!1" },
	{ TEXT("{ "), "!2" },
	{ TEXT("{]"), "!1" },
	{ TEXT("{,}"), "!1" },
	{ TEXT("{}}"), "!2" },
	{ TEXT("{} x"), "!3" },
	{ TEXT("{}\0"), "!2" },
	{ TEXT("{}//"), "!2" },
	{ TEXT("{/**/}"), "!1" },
	/* members */
	{ TEXT("{\"a\"}"), "!4" },
	{ TEXT("{\"a\":}"), "!5" },
	{ TEXT("{\"a\" 1}"), "!5" },
	{ TEXT("{\"a\"::1}"), "!5" },
	{ TEXT("{\"a\":1,}"), "\"a\"=[1] !7" },
	{ TEXT("{\"a\":1,,\"b\":1}"), "\"a\"=[1] !7" },
	{ TEXT("{\"a\":1 \"b\":1}"), "\"a\"=[1] !7" },
	{ TEXT("{\"a\":1;\"b\":1}"), "\"a\"=[1] !6" },
	{ TEXT("{\"a\":1"), "\"a\"=[1] !6" },
	{ TEXT("{\"a\":1]"), "\"a\"=[1] !6" },
	{ TEXT("{a:1}"), "!1" },
	{ TEXT("{'a':1}"), "!1" },
	{ TEXT("{1:1}"), "!1" },
	{ TEXT("{null:1}"), "!1" },
	/* strings */
	{ TEXT("{\"a"), "!3" },
	{ TEXT("{\"a\":\"x"), "!7" },
	{ TEXT("{\"a\":\"x\\\"}"), "!10" },
	{ TEXT("{\"a\":\"\t\"}"), "!6" },
	{ TEXT("{\"a\":\"0123456789\n\"}"), "!16" },
	{ TEXT("{\"a\":\"\0\"}"), "!6" },
	{ TEXT("{\"a\":\"\x1f\"}"), "!6" },
	{ TEXT("{\"a\":\"\\a\"}"), "!6" },
	{ TEXT("{\"a\":\"\\'\"}"), "!6" },
	{ TEXT("{\"a\":\"\\\0\"}"), "!6" },
	{ TEXT("{\"a\":\"\\U0041\"}"), "!6" },
	{ TEXT("{\"a\":\"\\x41\"}"), "!6" },
	{ TEXT("{\"a\":\"\\u\"}"), "!6" },
	{ TEXT("{\"a\":\"\\u00\"}"), "!6" },
	{ TEXT("{\"a\":\"\\u004\"}"), "!6" },
	{ TEXT("{\"a\":\"\\u00g1\"}"), "!6" },
	{ TEXT("{\"a\":\"\\u-001\"}"), "!6" },
	{ TEXT("{\"a\":\"\\"), "!6" },
	{ TEXT("{\"a\":'x'}"), "!5" },
	/* numbers */
	{ TEXT("{\"a\":0}"), "\"a\"=[0]" },
	{ TEXT("{\"a\":-0}"), "\"a\"=[-0]" },
	{ TEXT("{\"a\":-1.5e-10}"), "\"a\"=[-1.5e-10]" },
	{ TEXT("{\"a\":1E+2}"), "\"a\"=[1E+2]" },
	{ TEXT("{\"a\":1e00}"), "\"a\"=[1e00]" },
	{ TEXT("{\"a\":123456789012345678901234567890.10}"),
		"\"a\"=[123456789012345678901234567890.10]" },
	{ TEXT("{\"a\":01}"), "\"a\"=[0] !6" },
	{ TEXT("{\"a\":-01}"), "\"a\"=[-0] !7" },
	{ TEXT("{\"a\":+1}"), "!5" },
	{ TEXT("{\"a\":.5}"), "!5" },
	{ TEXT("{\"a\":-.5}"), "!6" },
	{ TEXT("{\"a\":1.}"), "!7" },
	{ TEXT("{\"a\":1.e1}"), "!7" },
	{ TEXT("{\"a\":-}"), "!6" },
	{ TEXT("{\"a\":--1}"), "!6" },
	{ TEXT("{\"a\":1e}"), "!7" },
	{ TEXT("{\"a\":1e+}"), "!8" },
	{ TEXT("{\"a\":1e1.5}"), "\"a\"=[1e1] !8" },
	{ TEXT("{\"a\":1ee1}"), "!7" },
	{ TEXT("{\"a\":0x1}"), "\"a\"=[0] !6" },
	{ TEXT("{\"a\":1 000}"), "\"a\"=[1] !7" },
	{ TEXT("{\"a\":1_000}"), "\"a\"=[1] !6" },
	{ TEXT("{\"a\":NaN}"), "!5" },
	{ TEXT("{\"a\":nan}"), "!5" },
	{ TEXT("{\"a\":Infinity}"), "!5" },
	{ TEXT("{\"a\":-Infinity}"), "!6" },
	/* words */
	{ TEXT("{\"a\":True}"), "!5" },
	{ TEXT("{\"a\":tru}"), "!5" },
	{ TEXT("{\"a\":truth}"), "!5" },
	{ TEXT("{\"a\":nul"), "!5" },
	{ TEXT("{\"a\":nulls}"), "\"a\"=NULL !9" },
	{ TEXT("{\"a\":undefined}"), "!5" },
	/* nested */
	{ TEXT("{\"a\":[1,]}"), "!8" },
	{ TEXT("{\"a\":[,1]}"), "!6" },
	{ TEXT("{\"a\":[1 2]}"), "!8" },
	{ TEXT("{\"a\":[1}"), "!7" },
	{ TEXT("{\"a\":[1}}"), "!7" },
	{ TEXT("{\"a\":{]}"), "!6" },
	{ TEXT("{\"a\":{1}}"), "!6" },
	{ TEXT("{\"a\":[\"b\":1]}"), "!9" },
	{ TEXT("{\"a\":{\"b\":[01]}}"), "!12" },
	{ TEXT("{\"a\":["), "!6" },
	{ TEXT("{\"a\":[1"), "!7" },
};

static void split(struct buf *out, struct span text, char open)
{
	struct json j;
	struct span name, value;
	int rc = json_open(&j, text, open);

	for (rc = rc < 0 ? rc : 1; rc > 0 && (rc = json_next(&j, &name, &value)) > 0;) {
		buf_str(out, out->len ? " " : "");
		buf_add(out, name.p, name.n);
		buf_str(out, value.p ? "=[" : "=NULL");
		buf_add(out, value.p, value.n);
		buf_str(out, value.p ? "]" : "");
	}
	if (rc < 0)
		buf_fmt(out, "%s!%td", out->len ? " " : "", j.p - text.p);
	if (rc < 0 && (!j.why || !*j.why))
		buf_str(out, " without a reason");
}

static void test_objects(void)
{
	struct buf got = { 0 };

	for (size_t i = 0; i < COUNT(objects); i++) {
		char *copy = unit_exact(objects[i].text);
		split(&got, (struct span){ copy, objects[i].text.n }, '{');
		check_buf("object", objects[i].text, &got, objects[i].wanted);
		free(copy);
	}
	split(&got, span_of("[\"id\", 2 ,null]"), '[');
	check_buf("array", span_of("elements"), &got, "=[\"id\"] =[2] =NULL");
	split(&got, span_of("{}"), '[');
	check_buf("array", span_of("an object"), &got, "!0");
	buf_free(&got);
}

/* n lists in an object, and what closes them. */
static bool nests(size_t n, char open, bool closed)
{
	struct buf text = { 0 };
	struct json j;
	struct span name, value;

	buf_str(&text, "{\"a\":");
	for (size_t i = 0; i < n; i++)
		buf_str(&text, open == '{' ? "{\"\":" : "[");
	buf_str(&text, "1");
	for (size_t i = 0; closed && i < n; i++)
		buf_str(&text, open == '{' ? "}" : "]");
	buf_str(&text, "}");
	bool ok = json_open(&j, (struct span){ text.p, text.len }, '{') == 0 &&
		json_next(&j, &name, &value) == 1 && json_next(&j, &name, &value) == 0;
	buf_free(&text);
	return ok;
}

static void test_depth(void)
{
	check_int("63 arrays in an object", nests(63, '[', true), true);
	check_int("64 arrays in an object", nests(64, '[', true), false);
	check_int("63 objects in an object", nests(63, '{', true), true);
	check_int("64 objects in an object", nests(64, '{', true), false);
	check_int("100000 arrays that do not end", nests(100000, '[', false), false);
}

/* ---- decoding; wanted begins with '!' where it is refused: the offset follows */

static const struct { struct span raw; const char *plain, *copy; } values[] = {
	{ TEXT("\"\""), "", "" },
	{ TEXT("\"abc\""), "abc", "abc" },
	{ TEXT("\"0123456789abcdef\""), "0123456789abcdef", "0123456789abcdef" },
	{ TEXT("12.50"), "12.50", "12.50" },
	{ TEXT("true"), "true", "true" },
	{ TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), "\"\\/\b\f\n\r\t", "\"\\\\/\\b\\f\\n\\r\\t" },
	{ TEXT("\"\\u0041\\u00e9\\u20AC\""), "A\xc3\xa9\xe2\x82\xac", "A\xc3\xa9\xe2\x82\xac" },
	{ TEXT("\"\\u000a\\u000b\\u005c\\u0001\""), "\n\v\\\x01", "\\n\\v\\\\\x01" },
	{ TEXT("\"\\ud83d\\uDE00\""), "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
	{ TEXT("\"\\udbff\\udfff\""), "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" },
	{ TEXT("\"\\ud7ff\\ue000\\uffff\""),
		"\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf", "\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf" },
	{ TEXT("\"\\u007f\\u0080\\u07ff\\u0800\""),
		"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80", "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80" },
	{ TEXT("\"\\\\u0041\""), "\\u0041", "\\\\u0041" },
	{ TEXT("\"\\\\.\""), "\\.", "\\\\." },
	{ TEXT("\"\\\\N\""), "\\N", "\\\\N" },
	{ TEXT("\"%41+\""), "%41+", "%41+" },
	{ TEXT("\"\xff\x80\""), "\xff\x80", "\xff\x80" },
	{ TEXT("[1,\n\t\"a\\n\\u0000\"]"),
		"[1,\n\t\"a\\n\\u0000\"]", "[1,\\n\\t\"a\\\\n\\\\u0000\"]" },
	{ TEXT("\"\\u0000\""), "!1", "!1" },
	{ TEXT("\"abc\\u0000\""), "!4", "!4" },
	{ TEXT("\"\\ud800\""), "!1", "!1" },
	{ TEXT("\"a\\udc00\""), "!2", "!2" },
	{ TEXT("\"\\ud800\\ud800\""), "!1", "!1" },
	{ TEXT("\"\\ud800\\u0041\""), "!1", "!1" },
	{ TEXT("\"\\ud800x\\udc00\""), "!1", "!1" },
	{ TEXT("\"\\ud800\\n\\udc00\""), "!1", "!1" },
	{ TEXT("\"\\udc00\\ud800\""), "!1", "!1" },
};

/* Input and output have exactly the room that the contract asks for. */
static void decode_into(struct buf *got, struct span raw, bool escape)
{
	size_t bad = 999999;
	char *in = unit_exact(raw), *out = mem_alloc(escape ? 2 * raw.n : raw.n);
	ssize_t n = json_decode(out, (struct span){ in, raw.n }, escape ? JSON_COPY : 0, &bad);

	if (n < 0)
		buf_fmt(got, "!%zu", bad);
	else
		buf_add(got, out, (size_t)n);
	free(in);
	free(out);
}

static void test_values(void)
{
	struct buf got = { 0 };

	for (size_t i = 0; i < COUNT(values); i++) {
		struct span raw = values[i].raw;
		decode_into(&got, raw, false);
		check_buf("decode", raw, &got, values[i].plain);
		decode_into(&got, raw, true);
		check_buf("copy", raw, &got, values[i].copy);
	}
	buf_free(&got);
}

/* A byte at one place of a string of ordinary ones, whatever number is taken at a time: is it
 * refused, does it end the string, or does it come out as it is? */
static void test_places(void)
{
	struct buf got = { 0 };
	int wrong = -1;

	for (size_t place = 1; place < 20; place++)
		for (int c = 0; c < 256 && wrong < 0; c++) {
			char text[] = "{\"a\":\"..................\"}";
			text[5 + place] = (char)c;
			split(&got, (struct span){ text, sizeof text - 1 }, '{');
			bool refused = c < ' ' || c == '\\' || (c == '"' && place != 19);
			if (place == 19)
				refused = c != '"';
			buf_cstr(&got);
			if ((strchr(got.p, '!') != NULL) != refused && c != '!')
				wrong = (int)place * 1000 + c;
			got.len = 0;
		}
	check_int("each byte at each place of a string: the first that is wrong", wrong, -1);
	buf_free(&got);
}

int main(void)
{
	test_objects();
	test_depth();
	test_values();
	test_places();
	return unit_end();
}
