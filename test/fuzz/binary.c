/*
 * Fuzzes the binary values: what was made of a text is read back and means the same. The input is a
 * byte for the kind, and the encoded text.
 */
#include <time.h>

#include "../../event/binary.c"
#include "fuzz.h"
#include "slow.h"

static int64_t number_at(const char *p, size_t bytes)
{
	uint64_t n = (p[0] & 0x80) ? UINT64_MAX : 0;

	for (size_t i = 0; i < bytes; i++)
		n = n << 8 | (unsigned char)p[i];
	return (int64_t)n;
}

static void check_int(const char *text, int64_t n)
{
	char *end;

	CHECK(strspn(text, "-0123456789") == strlen(text) && strtoll(text, &end, 10) == n &&
		*text && !*end);
}

/* The date and the seconds stand in the text as the C library writes them; offsets are for other
 * tests. */
static void check_moment(const char *text, int64_t us, bool zoned)
{
	int64_t seconds = us / 1000000 - (us % 1000000 < 0);
	time_t t = seconds + 946684800;
	struct tm tm;
	char again[64];

	CHECK(gmtime_r(&t, &tm));
	snprintf(again, sizeof again, "%04d-%02d-%02d %02d:%02d:%02d.%06d", tm.tm_year + 1900,
		tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		(int)(us - seconds * 1000000));
	for (size_t i = 0; !zoned && i < strlen(text); i++)
		CHECK(text[i] == again[i]);
}

static void check_uuid(const char *text, const char *p)
{
	char again[40];

	for (size_t i = 0, at = 0; i < 16; i++)
		at += (size_t)sprintf(again + at, "%s%02x", i == 4 || i == 6 || i == 8 ||
			i == 10 ? "-" : "", (unsigned char)p[i]);
	CHECK(strcasecmp(text, again) == 0);
}

/* The number is written out again: groups of four digits, of which weight + 1 stand before the
 * point. */
static void check_numeric(const char *text, const char *p, size_t n)
{
	size_t groups = (size_t)number_at(p, 2), scale = (size_t)number_at(p + 6, 2);
	int64_t weight = number_at(p + 2, 2), sign = number_at(p + 4, 2);
	struct buf digits = { 0 }, again = { 0 };

	CHECK(n == 8 + 2 * groups && (sign == 0 || sign == 0x4000));
	for (size_t i = 0; i < groups; i++) {
		CHECK(number_at(p + 8 + 2 * i, 2) >= 0 && number_at(p + 8 + 2 * i, 2) <= 9999);
		buf_fmt(&digits, "%04d", (int)number_at(p + 8 + 2 * i, 2));
	}
	buf_cstr(&digits);
	size_t whole = 4 * (size_t)(weight + 1);
	CHECK(digits.len >= whole + scale);
	for (const char *left = digits.p + whole + scale; *left; left++)
		CHECK(*left == '0');
	CHECK((*text == '-') == (sign != 0));
	text += *text == '-';
	size_t shown = strcspn(text, ".");
	buf_fmt(&again, "%.*s", (int)whole, digits.p);
	for (; whole > shown; whole--)
		CHECK(*again.p == '0' && memmove(again.p, again.p + 1, again.len--));
	buf_str(&again, scale ? "." : "");
	buf_fmt(&again, "%.*s", (int)scale, digits.p + 4 * (weight + 1));
	CHECK(strcmp(buf_cstr(&again), text) == 0);
	buf_free(&digits);
	buf_free(&again);
}

static void check_bytea(const char *text, const char *p, size_t n)
{
	CHECK(strlen(text) == 2 + 2 * n && text[0] == '\\' && text[1] == 'x');
	for (size_t i = 0; i < n; i++) {
		char again[3];
		snprintf(again, sizeof again, "%02x", (unsigned char)p[i]);
		CHECK(strncasecmp(again, text + 2 + 2 * i, 2) == 0);
	}
}

static void check_float(const char *text, int64_t bits, size_t bytes)
{
	int32_t bits4 = (int32_t)bits;
	double wide;
	float narrow;
	char *end;

	memcpy(&wide, &bits, sizeof wide);
	memcpy(&narrow, &bits4, sizeof narrow);
	CHECK(strspn(text, "-0123456789.eE+") == strlen(text));
	CHECK(bytes == 4 ? strtof(text, &end) == narrow : strtod(text, &end) == wide);
	CHECK(*text && !*end);
}

static void check_value(enum binary_kind kind, const char *text, const char *p, size_t n)
{
	static const size_t bytes[] = { [BINARY_BOOL] = 1, [BINARY_INT2] = 2, [BINARY_INT4] = 4,
		[BINARY_INT8] = 8, [BINARY_DATE] = 4, [BINARY_TIMESTAMP] = 8, [BINARY_TIMESTAMPTZ] =
		8, [BINARY_UUID] = 16, [BINARY_FLOAT4] = 4, [BINARY_FLOAT8] = 8 };

	if (kind == BINARY_NUMERIC)
		check_numeric(text, p, n);
	else if (kind == BINARY_JSONB)
		CHECK(n == strlen(text) + 1 && *p == 1 && memcmp(text, p + 1, n - 1) == 0);
	else if (kind == BINARY_BYTEA)
		check_bytea(text, p, n);
	if (kind > BINARY_FLOAT8 || kind == BINARY_NUMERIC)
		return;
	CHECK(kind == BINARY_TEXT || n == bytes[kind]);
	if (kind == BINARY_INT2 || kind == BINARY_INT4 || kind == BINARY_INT8)
		check_int(text, number_at(p, n));
	else if (kind == BINARY_BOOL)
		CHECK(strcmp(text, *p ? "t" : "f") == 0 || strcmp(text, *p ? "true" :
			"false") == 0);
	else if (kind == BINARY_DATE)
		check_moment(text, number_at(p, n) * DAY_US, false);
	else if (kind == BINARY_UUID)
		check_uuid(text, p);
	else if (kind == BINARY_FLOAT4 || kind == BINARY_FLOAT8)
		check_float(text, number_at(p, n), n);
	else if (kind != BINARY_TEXT)
		check_moment(text, number_at(p, n), kind == BINARY_TIMESTAMPTZ);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = { (const char *)data, size };
	enum binary_kind kind = fuzz_byte(&rest) % (BINARY_BYTEA + 1);
	struct span raw = fuzz_copy(rest.p, rest.n);
	char *out = fuzz_room(binary_room(raw));
	struct buf text = { 0 };
	size_t bad = 0;
	ssize_t n = binary_put(out, kind, FORMAT_URLENC, raw);

	if (n >= 0) {
		CHECK(kind != BINARY_NONE && (size_t)n <= binary_room(raw) &&
			number_at(out, BINARY_WORD) == n - BINARY_WORD);
		CHECK(slow_decode(&text, raw, &bad));
		CHECK(kind != BINARY_TEXT || span_eq((struct span){ text.p, text.len },
			(struct span){ out + BINARY_WORD, (size_t)n - BINARY_WORD }));
		check_value(kind, buf_cstr(&text), out + BINARY_WORD, (size_t)n - BINARY_WORD);
	}
	buf_free(&text);
	free(out);
	fuzz_free(raw);
	return 0;
}
