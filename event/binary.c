/*
 * An event's values in the format of binary COPY, which spares the server parsing text.
 *
 * A value is converted only if its text means the same under every server setting; otherwise the
 * row goes as text, and the server judges it.
 */
#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define SCALAR_RAW_MAX 96               /* encoded bytes of a number or date: 32 escapes */
#define DAYS_TO_2000 10957              /* from 1970-01-01, where date.c counts from */
#define DAY_US INT64_C(86400000000)
#define SECOND_US 1000000
#define NUMERIC_NEGATIVE 0x4000         /* the sign's word, in numeric_recv's format */
#define NUMERIC_TEXT_MAX 1000           /* digits of a number; longer ones are left to the server */
#define JSONB_VERSION 1

enum binary_kind binary_kind(const char *type_oid)
{
	static const struct { unsigned long oid; enum binary_kind kind; } types[] = {
		{ 16, BINARY_BOOL }, { 20, BINARY_INT8 }, { 21, BINARY_INT2 }, { 23, BINARY_INT4 },
		{ 25, BINARY_TEXT }, { 1042, BINARY_TEXT }, { 1043, BINARY_TEXT },
		{ 114, BINARY_TEXT }, { 3802, BINARY_JSONB }, { 17, BINARY_BYTEA },
		{ 700, BINARY_FLOAT4 }, { 701, BINARY_FLOAT8 }, { 1700, BINARY_NUMERIC },
		{ 1082, BINARY_DATE }, { 1114, BINARY_TIMESTAMP },
		{ 1184, BINARY_TIMESTAMPTZ }, { 2950, BINARY_UUID },
	};
	unsigned long oid = strtoul(type_oid, NULL, 10);

	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (types[i].oid == oid)
			return types[i].kind;
	return BINARY_NONE;
}

static void put32(char *out, int32_t n)
{
	uint32_t be = htobe32((uint32_t)n);

	memcpy(out, &be, sizeof be);
}

/* The length, then that many low bytes of n. */
static ssize_t put_number(char *out, int64_t n, size_t bytes)
{
	uint64_t be = htobe64((uint64_t)n);

	put32(out, (int32_t)bytes);
	memcpy(out + BINARY_WORD, (char *)&be + sizeof be - bytes, bytes);
	return BINARY_WORD + (ssize_t)bytes;
}

/* At most 19 digits, with or without a minus: these cannot overflow 64 bits without a sign. */
static ssize_t put_int(char *out, struct span text, size_t bytes)
{
	uint64_t n = 0, most = (UINT64_C(1) << (8 * bytes - 1)) - 1;
	bool minus = text.n > 0 && text.p[0] == '-';

	if (text.n == minus || text.n > 19u + minus)
		return -1;
	for (size_t i = minus; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return -1;
		n = 10 * n + (uint64_t)(text.p[i] - '0');
	}
	return n <= most ? put_number(out, minus ? -(int64_t)n : (int64_t)n, bytes) : -1;
}

static size_t count_digits(struct span text, size_t from)
{
	size_t at = from;

	while (at < text.n && text.p[at] >= '0' && text.p[at] <= '9')
		at++;
	return at - from;
}

struct decimal { bool minus; struct span whole, fraction; };    /* both are digits alone */

/* Finds a minus, digits and perhaps a point and more digits. Returns where they end; 0: there are
 * none. */
static size_t find_decimal(struct span text, struct decimal *d)
{
	size_t at = d->minus = text.n > 0 && text.p[0] == '-';

	d->whole = (struct span){ text.p + at, count_digits(text, at) };
	d->fraction = (struct span){ text.p, 0 };
	at += d->whole.n;
	if (d->whole.n == 0 || at == text.n || text.p[at] != '.')
		return d->whole.n ? at : 0;
	at++;
	d->fraction = (struct span){ text.p + at, count_digits(text, at) };
	return d->fraction.n ? at + d->fraction.n : 0;
}

static void put16(char **out, size_t n)
{
	uint16_t be = htobe16((uint16_t)n);

	memcpy(*out, &be, sizeof be);
	*out += sizeof be;
}

/* Digits in groups of four, of which the first lacks `lack` in front, and the last what it lacks at
 * its end. */
static void put_groups(char **out, struct span digits, size_t lack)
{
	for (size_t i = 0; i < digits.n + lack; i += 4) {
		size_t group = 0;
		for (size_t k = i; k < i + 4; k++)
			group = 10 * group + (k >= lack && k < digits.n + lack ?
				(size_t)(digits.p[k - lack] - '0') : 0);
		put16(out, group);
	}
}

/* The server strips groups of zeros. */
static ssize_t put_numeric(char *out, struct span text)
{
	struct decimal d;
	char *at = out + BINARY_WORD;

	if (find_decimal(text, &d) != text.n || text.n == 0 || text.n > NUMERIC_TEXT_MAX)
		return -1;
	size_t whole = (d.whole.n + 3) / 4, fraction = (d.fraction.n + 3) / 4;
	put16(&at, whole + fraction);
	put16(&at, whole - 1);
	put16(&at, d.minus ? NUMERIC_NEGATIVE : 0);
	put16(&at, d.fraction.n);
	put_groups(&at, d.whole, 4 * whole - d.whole.n);
	put_groups(&at, d.fraction, 0);
	put32(out, (int32_t)(at - out - BINARY_WORD));
	return at - out;
}

/* Where the exponent behind a decimal ends: text.n, or elsewhere if there is something else. */
static size_t find_exponent(struct span text, size_t at)
{
	if (at == text.n || (text.p[at] != 'e' && text.p[at] != 'E'))
		return at;
	at++;
	at += at < text.n && (text.p[at] == '-' || text.p[at] == '+');
	size_t digits = count_digits(text, at);
	return digits ? at + digits : 0;
}

static bool is_zero(const struct decimal *d)
{
	for (size_t i = 0; i < d->whole.n; i++)
		if (d->whole.p[i] != '0')
			return false;
	for (size_t i = 0; i < d->fraction.n; i++)
		if (d->fraction.p[i] != '0')
			return false;
	return true;
}

/* The C library rounds as the server's does; older servers round a float4 twice. What overflows, or
 * is so small that bits are lost, is the server's to judge. */
static ssize_t put_float(char *out, struct span text, size_t bytes)
{
	char copy[SCALAR_RAW_MAX + 1];
	struct decimal d;
	size_t at = find_decimal(text, &d);
	int64_t bits8;
	int32_t bits4;

	if (at == 0 || text.n >= sizeof copy || find_exponent(text, at) != text.n)
		return -1;
	memcpy(copy, text.p, text.n);
	copy[text.n] = 0;
	double wide = strtod(copy, NULL);
	float narrow = strtof(copy, NULL);
	bool exact = bytes == 8 ? isnormal(wide) : isnormal(narrow) && (float)wide == narrow;
	if (!exact && !is_zero(&d))
		return -1;
	memcpy(&bits8, &wide, sizeof bits8);
	memcpy(&bits4, &narrow, sizeof bits4);
	return put_number(out, bytes == 4 ? bits4 : bits8, bytes);
}

static ssize_t put_bool(char *out, struct span text)
{
	bool yes = span_is(text, "t") || span_is(text, "true");

	if (!yes && !span_is(text, "f") && !span_is(text, "false"))
		return -1;
	return put_number(out, yes, 1);
}

/* Without an offset, the session's zone would decide what a timestamptz means. The server ignores a
 * timestamp's offset and a date's time: those are left to it. */
static ssize_t put_moment(char *out, struct span text, enum binary_kind kind, bool json)
{
	struct moment m;

	if (!date_parse(text, &m) || !m.exact || (m.has_t && !json) ||
	    m.has_offset != (kind == BINARY_TIMESTAMPTZ) ||
	    (m.has_time && kind == BINARY_DATE))
		return -1;
	if (kind == BINARY_DATE)
		return put_number(out, m.days - DAYS_TO_2000, 4);
	return put_number(out, (m.days - DAYS_TO_2000) * DAY_US +
		(m.second_of_day - m.offset_s) * SECOND_US + m.us, 8);
}

static ssize_t put_uuid(char *out, struct span text)
{
	char *byte = out + BINARY_WORD;

	if (text.n != 36)
		return -1;
	for (size_t i = 0; i < text.n; i += 2) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text.p[i] != '-')
				return -1;
			i++;
		}
		int n = urlenc_hex(text.p + i);
		if (n < 0)
			return -1;
		*byte++ = (char)n;
	}
	put32(out, 16);
	return BINARY_WORD + 16;
}

static ssize_t put_text(char *out, enum format format, struct span raw)
{
	size_t bad;
	ssize_t n = format_decode(out + BINARY_WORD, format, raw, &bad);

	if (n < 0)
		return -1;
	put32(out, (int32_t)n);
	return BINARY_WORD + n;
}

/* The server's own output, \\x and digits; the digits become bytes where they stand. */
static ssize_t put_bytea(char *out, enum format format, struct span raw)
{
	ssize_t n = put_text(out, format, raw);
	char *hex = out + BINARY_WORD, *byte = hex;

	if (n < BINARY_WORD + 2 || n % 2 != 0 || hex[0] != '\\' || hex[1] != 'x')
		return -1;
	for (const char *p = hex + 2; p < out + n; p += 2) {
		int value = urlenc_hex(p);
		if (value < 0)
			return -1;
		*byte++ = (char)value;
	}
	put32(out, (int32_t)(byte - hex));
	return byte - out;
}

static ssize_t put_jsonb(char *out, enum format format, struct span raw)
{
	ssize_t n = put_text(out + 1, format, raw);

	if (n < 0)
		return -1;
	put32(out, (int32_t)(n + 1 - BINARY_WORD));
	out[BINARY_WORD] = JSONB_VERSION;
	return n + 1;
}

static ssize_t put_scalar(char *out, enum binary_kind kind, struct span text, bool json)
{
	switch (kind) {
	case BINARY_INT2:
		return put_int(out, text, 2);
	case BINARY_INT4:
		return put_int(out, text, 4);
	case BINARY_INT8:
		return put_int(out, text, 8);
	case BINARY_BOOL:
		return put_bool(out, text);
	case BINARY_DATE:
	case BINARY_TIMESTAMP:
	case BINARY_TIMESTAMPTZ:
		return put_moment(out, text, kind, json);
	case BINARY_UUID:
		return put_uuid(out, text);
	case BINARY_NUMERIC:
		return put_numeric(out, text);
	case BINARY_FLOAT4:
		return put_float(out, text, 4);
	case BINARY_FLOAT8:
		return put_float(out, text, 8);
	case BINARY_TEXT:
	case BINARY_JSONB:
	case BINARY_BYTEA:
	case BINARY_NONE:
		break;
	}
	return -1;
}

/* Can a + stand in the value, which is encoded, or means a space? */
static bool has_plus(enum binary_kind kind)
{
	return kind == BINARY_TIMESTAMPTZ || kind == BINARY_FLOAT4 || kind == BINARY_FLOAT8;
}

/* Most need no decoding. */
static ssize_t put_as_it_is(char *out, enum binary_kind kind, enum format format, struct span raw)
{
	if (format == FORMAT_URLENC)
		return has_plus(kind) ? -1 : put_scalar(out, kind, raw, false);
	if (raw.n >= 2 && *raw.p == '"')
		raw = (struct span){ raw.p + 1, raw.n - 2 };
	return put_scalar(out, kind, raw, true);
}

ssize_t binary_put(char *out, enum binary_kind kind, enum format format, struct span raw)
{
	char decoded[SCALAR_RAW_MAX];
	size_t bad;

	if (!raw.p) {
		put32(out, -1);
		return BINARY_WORD;
	}
	if (kind == BINARY_TEXT)
		return put_text(out, format, raw);
	if (kind == BINARY_JSONB)
		return put_jsonb(out, format, raw);
	if (kind == BINARY_BYTEA)
		return put_bytea(out, format, raw);
	ssize_t n = put_as_it_is(out, kind, format, raw);
	if (n >= 0 || raw.n > sizeof decoded)
		return n;
	n = format_decode(decoded, format, raw, &bad);
	return n < 0 ? -1 : put_scalar(out, kind, (struct span){ decoded, (size_t)n },
		format != FORMAT_URLENC);
}

size_t binary_begin_row(char *out, size_t columns)
{
	uint16_t be = htobe16((uint16_t)columns);

	memcpy(out, &be, sizeof be);
	return sizeof be;
}
