/*
 * Tests of binary.c. With the argument "values": a line for each of many values, its type, its text
 * and what binary_put makes of it in hexadecimal digits, for a server to compare; those that are
 * left to the server are left out.
 *
 * Linked with: base/buf.c event/date.c event/zone.c event/list.c event/period.c urlenc.c
 * event/json.c event/format.c
 */
#include <ctype.h>

#include "../../event/binary.c"
#include "unit.h"

static enum format format_of_test;

/* What binary_put writes, in hexadecimal digits; "-" when the value is for the server to judge. */
static void put(struct buf *got, enum binary_kind kind, struct span raw)
{
	char *copy = unit_exact(raw), *out = mem_alloc(binary_room(raw));
	ssize_t n = binary_put(out, kind, format_of_test, (struct span){ raw.p ? copy : NULL,
		raw.n });

	for (ssize_t i = 0; i < n; i++)
		buf_fmt(got, "%02x", (unsigned char)out[i]);
	if (n < 0)
		buf_str(got, "-");
	free(copy);
	free(out);
}

static const struct { enum binary_kind kind; struct span raw; const char *wanted; } values[] = {
	{ BINARY_INT4, { NULL, 0 }, "ffffffff" },
	{ BINARY_TEXT, { NULL, 0 }, "ffffffff" },
	{ BINARY_TEXT, TEXT(""), "00000000" },
	{ BINARY_TEXT, TEXT("a+b%2b%25\\"), "00000006" "6120622b255c" },
	{ BINARY_TEXT, TEXT("%zz"), "-" },
	{ BINARY_TEXT, TEXT("a%00"), "-" },
	{ BINARY_TEXT, TEXT("a\0b"), "-" },
	{ BINARY_INT2, TEXT("32767"), "00000002" "7fff" },
	{ BINARY_INT2, TEXT("-32767"), "00000002" "8001" },
	{ BINARY_INT2, TEXT("-32768"), "-" },
	{ BINARY_INT2, TEXT("32768"), "-" },
	{ BINARY_INT4, TEXT("0"), "00000004" "00000000" },
	{ BINARY_INT4, TEXT("-0"), "00000004" "00000000" },
	{ BINARY_INT4, TEXT("007"), "00000004" "00000007" },
	{ BINARY_INT4, TEXT("%31%32"), "00000004" "0000000c" },
	{ BINARY_INT4, TEXT("2147483647"), "00000004" "7fffffff" },
	{ BINARY_INT4, TEXT("2147483648"), "-" },
	{ BINARY_INT4, TEXT(""), "-" },
	{ BINARY_INT4, TEXT("-"), "-" },
	{ BINARY_INT4, TEXT("--1"), "-" },
	{ BINARY_INT4, TEXT("+1"), "-" },
	{ BINARY_INT4, TEXT("%2b1"), "-" },
	{ BINARY_INT4, TEXT("1+"), "-" },
	{ BINARY_INT4, TEXT("0x10"), "-" },
	{ BINARY_INT4, TEXT("1_000"), "-" },
	{ BINARY_INT4, TEXT("1.0"), "-" },
	{ BINARY_INT4, TEXT("%c2%b2"), "-" },
	{ BINARY_INT8, TEXT("-999999999999999999"), "00000008" "f21f494c589c0001" },
	{ BINARY_INT8, TEXT("999999999999999999"), "00000008" "0de0b6b3a763ffff" },
	{ BINARY_INT8, TEXT("1000000000000000000"), "00000008" "0de0b6b3a7640000" },
	{ BINARY_INT8, TEXT("9223372036854775807"), "00000008" "7fffffffffffffff" },
	{ BINARY_INT8, TEXT("9223372036854775808"), "-" },
	{ BINARY_INT8, TEXT("-9223372036854775808"), "-" },
	{ BINARY_INT8, TEXT("18446744073709551617"), "-" },
	{ BINARY_INT4, TEXT("9999999999999999999"), "-" },
	{ BINARY_BOOL, TEXT("t"), "00000001" "01" },
	{ BINARY_BOOL, TEXT("f"), "00000001" "00" },
	{ BINARY_BOOL, TEXT("true"), "00000001" "01" },
	{ BINARY_BOOL, TEXT("T"), "-" },
	{ BINARY_BOOL, TEXT(""), "-" },
	{ BINARY_DATE, TEXT("2000-01-01"), "00000004" "00000000" },
	{ BINARY_DATE, TEXT("1999-12-31"), "00000004" "ffffffff" },
	{ BINARY_DATE, TEXT("0001-01-01"), "00000004" "fff4dbf9" },
	{ BINARY_DATE, TEXT("9999-12-31"), "00000004" "002c95d3" },
	{ BINARY_DATE, TEXT("0000-01-01"), "-" },
	{ BINARY_DATE, TEXT("2026-02-29"), "-" },
	{ BINARY_DATE, TEXT("2026-02-28+10:00"), "-" },
	{ BINARY_DATE, TEXT("26-02-28"), "-" },
	{ BINARY_DATE, TEXT("infinity"), "-" },
	{ BINARY_TIMESTAMP, TEXT("2000-01-01"), "00000008" "0000000000000000" },
	{ BINARY_TIMESTAMP, TEXT("2000-01-01+00:00:01"), "00000008" "00000000000f4240" },
	{ BINARY_TIMESTAMP, TEXT("2000-01-01+00:00:00.5"), "00000008" "000000000007a120" },
	{ BINARY_TIMESTAMP, TEXT("1999-12-31 23:59:59.999999"), "00000008" "ffffffffffffffff" },
	{ BINARY_TIMESTAMP, TEXT("2000-01-01 00:00:00.0000001"), "-" },
	{ BINARY_TIMESTAMP, TEXT("2000-01-01 24:00:00"), "-" },
	{ BINARY_TIMESTAMP, TEXT("2000-01-01 00:00:60"), "-" },
	{ BINARY_TIMESTAMP, TEXT("2000-01-01 00:00:00%2b00"), "-" },
	{ BINARY_TIMESTAMPTZ, TEXT("2000-01-01 00:00:00"), "-" },
	{ BINARY_TIMESTAMPTZ, TEXT("2000-01-01"), "-" },
	{ BINARY_TIMESTAMPTZ, TEXT("2000-01-01 00:00:00+02"), "-" },
	{ BINARY_TIMESTAMP, TEXT("2000-01-01 00:00:00+02"), "-" },
	{ BINARY_TIMESTAMP, TEXT("2000-01-01T00:00:00"), "-" },
	{ BINARY_TIMESTAMPTZ, TEXT("2000-01-01 00:00:00Z"), "-" },
	{ BINARY_DATE, TEXT("2000-01-01+02"), "-" },
	{ BINARY_INT4, TEXT("1+2"), "-" },
	{ BINARY_TIMESTAMPTZ, TEXT("2000-01-01 00:00:00%2b"), "-" },
	{ BINARY_TIMESTAMPTZ, TEXT("2000-01-01 00:00:00%2b00"), "00000008" "0000000000000000" },
	{ BINARY_TIMESTAMPTZ, TEXT("2000-01-01 02:00:00.000001%2b02"), "00000008"
		"0000000000000001" },
	{ BINARY_TIMESTAMPTZ, TEXT("1999-12-31 18:30:00-05:30"), "00000008" "0000000000000000" },
	{ BINARY_UUID, TEXT("00112233-4455-6677-8899-aAbBcCdDeEfF"), "00000010"
		"00112233445566778899aabbccddeeff" },
	{ BINARY_UUID, TEXT("{0112233-4455-6677-8899-aabbccddeef}"), "-" },
	{ BINARY_UUID, TEXT("00112233445566778899aabbccddeeff"), "-" },
	{ BINARY_UUID, TEXT("00112233-4455-6677-8899-aabbccddeef"), "-" },
	{ BINARY_UUID, TEXT("00112233-4455-6677-8899aabbccddeeff-"), "-" },
	{ BINARY_NUMERIC, TEXT("0"), "0000000a" "00010000" "00000000" "0000" },
	{ BINARY_NUMERIC, TEXT("12345.678"), "0000000e" "00030001" "00000003" "0001" "0929"
		"1a7c" },
	{ BINARY_NUMERIC, TEXT("-0.05"), "0000000c" "00020000" "40000002" "0000" "01f4" },
	{ BINARY_NUMERIC, TEXT("%31%2e5"), "0000000c" "00020000" "00000001" "0001" "1388" },
	{ BINARY_NUMERIC, TEXT(""), "-" },
	{ BINARY_NUMERIC, TEXT("-"), "-" },
	{ BINARY_NUMERIC, TEXT("1."), "-" },
	{ BINARY_NUMERIC, TEXT(".5"), "-" },
	{ BINARY_NUMERIC, TEXT("1e5"), "-" },
	{ BINARY_NUMERIC, TEXT("NaN"), "-" },
	{ BINARY_NUMERIC, TEXT("1 "), "-" },
	{ BINARY_NUMERIC, TEXT("--1"), "-" },
	{ BINARY_FLOAT8, TEXT("1.5"), "00000008" "3ff8000000000000" },
	{ BINARY_FLOAT8, TEXT("0"), "00000008" "0000000000000000" },
	{ BINARY_FLOAT8, TEXT("-0.0e5"), "00000008" "8000000000000000" },
	{ BINARY_FLOAT8, TEXT("1e-7"), "00000008" "3e7ad7f29abcaf48" },
	{ BINARY_FLOAT8, TEXT("1e%2b22"), "00000008" "4480f0cf064dd592" },
	{ BINARY_FLOAT8, TEXT("1e+22"), "-" },
	{ BINARY_FLOAT8, TEXT("1e400"), "-" },
	{ BINARY_FLOAT8, TEXT("1e-400"), "-" },
	{ BINARY_FLOAT8, TEXT("4e-320"), "-" },
	{ BINARY_FLOAT8, TEXT("1e"), "-" },
	{ BINARY_FLOAT8, TEXT("e1"), "-" },
	{ BINARY_FLOAT8, TEXT("0x10"), "-" },
	{ BINARY_FLOAT8, TEXT("NaN"), "-" },
	{ BINARY_FLOAT8, TEXT("Infinity"), "-" },
	{ BINARY_FLOAT8, TEXT("1 "), "-" },
	{ BINARY_FLOAT4, TEXT("1.5"), "00000004" "3fc00000" },
	{ BINARY_FLOAT4, TEXT("1e39"), "-" },
	{ BINARY_FLOAT4, TEXT("1.00000017881393432617187499"), "-" },
	{ BINARY_JSONB, TEXT("%7b%7d"), "00000003" "01" "7b7d" },
	{ BINARY_JSONB, TEXT(""), "00000001" "01" },
	{ BINARY_JSONB, TEXT("%00"), "-" },
	{ BINARY_BYTEA, TEXT("%5cx"), "00000000" },
	{ BINARY_BYTEA, TEXT("%5Cx00fF"), "00000002" "00ff" },
	{ BINARY_BYTEA, TEXT("\\x0"), "-" },
	{ BINARY_BYTEA, TEXT("\\x0g"), "-" },
	{ BINARY_BYTEA, TEXT("\\x00 0"), "-" },
	{ BINARY_BYTEA, TEXT("ab"), "-" },
	{ BINARY_BYTEA, TEXT(""), "-" },
	{ BINARY_NONE, TEXT("1"), "-" },
};

static void test_values(void)
{
	struct buf got = { 0 };

	for (size_t i = 0; i < COUNT(values); i++) {
		put(&got, values[i].kind, values[i].raw);
		check_buf("binary", values[i].raw, &got, values[i].wanted);
	}
	buf_free(&got);
}

static void test_row(void)
{
	char out[2];

	check_int("bytes of a row's beginning", (int64_t)binary_begin_row(out, 1600), 2);
	check_span("row of 1600 columns", span_of(""), (struct span){ out, 2 },
		(struct span)TEXT("\x06\x40"));
	check_int("bytes of the header", sizeof BINARY_HEADER, 19);
}

static void test_kinds(void)
{
	check_int("int4", binary_kind("23"), BINARY_INT4);
	check_int("numeric", binary_kind("1700"), BINARY_NUMERIC);
	check_int("interval", binary_kind("1186"), BINARY_NONE);
}

/* ---- for a server to compare */

static const struct { enum binary_kind kind; const char *type; const char *like; } types[] = {
	{ BINARY_INT2, "int2", "-12345" }, { BINARY_INT2, "int2", "7" },
	{ BINARY_INT4, "int4", "1234567890" }, { BINARY_INT4, "int4", "-12345" },
	{ BINARY_INT8, "int8", "-123456789012345678" },
	{ BINARY_INT8, "int8", "12345678901234567890" },
	{ BINARY_BOOL, "bool", "t" },
	{ BINARY_TEXT, "text", "a text" },
	{ BINARY_DATE, "date", "2026-03-28" }, { BINARY_DATE, "date", "0101-10-28" },
	{ BINARY_TIMESTAMP, "timestamp", "2026-02-28 10:20:30" },
	{ BINARY_TIMESTAMP, "timestamp", "1026-12-31 23:59:59.999999" },
	{ BINARY_TIMESTAMPTZ, "timestamptz", "2026-02-28 10:20:30.25+05:30" },
	{ BINARY_TIMESTAMPTZ, "timestamptz", "1999-12-31 23:59:59-15:59:59" },
	{ BINARY_TIMESTAMPTZ, "timestamptz", "0001-01-01 00:20:30-0730" },
	{ BINARY_UUID, "uuid", "01234567-89ab-cdef-ABCD-0123456789ab" },
	{ BINARY_FLOAT8, "float8", "-12.345678901234567" },
	{ BINARY_FLOAT8, "float8", "1.7976931348623157e+308" },
	{ BINARY_FLOAT8, "float8", "2.2250738585072014e-308" },
	{ BINARY_FLOAT4, "float4", "1.17549435e-38" }, { BINARY_FLOAT4, "float4", "123456.79" },
	{ BINARY_BYTEA, "bytea", "\\x00ff1234567890aF" },
};

/* A few characters of `like` become others: of its own kind mostly, else any that may stand in
 * such a text. */
static void change(char *text, uint32_t *x)
{
	static const char any[] = "0123456789-+:. TZtfaF";

	for (uint32_t times = unit_random(x) % 8; times > 0; times--) {
		char *at = text + unit_random(x) % strlen(text);
		if (isdigit((unsigned char)*at) && unit_random(x) % 8)
			*at = (char)('0' + unit_random(x) % 10);
		else if (unit_random(x) % 16 == 0)
			*at = any[unit_random(x) % (sizeof any - 1)];
		if (at[1] && unit_random(x) % 32 == 0)
			at[1] = 0;
	}
}

static void print_values(void)
{
	uint32_t x = 88172645;

	for (int i = 0; i < 40000; i++) {
		size_t t = unit_random(&x) % COUNT(types);
		struct buf raw = { 0 }, hex = { 0 };
		char text[64];
		snprintf(text, sizeof text, "%s", types[t].like);
		change(text, &x);
		for (const char *p = text; *p; p++)
			buf_fmt(&raw, *p == '+' ? "%%2b" : "%c", *p);
		put(&hex, types[t].kind, (struct span){ raw.p, raw.len });
		if (!span_is((struct span){ hex.p, hex.len }, "-"))
			printf("%s\t%s%s\t%s\n", types[t].type, *text == '\\' ? "\\" : "",
				text, buf_cstr(&hex) + 2 * BINARY_WORD);
		buf_free(&raw);
		buf_free(&hex);
	}
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "values") == 0) {
		print_values();
		return 0;
	}
	test_values();
	test_row();
	test_kinds();
	return unit_end();
}
