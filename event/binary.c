/*
 * An event's values in the format of binary COPY, which spares the server parsing text.
 *
 * A value is converted only if its text means the same under every server setting; otherwise the
 * row goes as text, and the server judges it.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "event.h"

#define SCALAR_RAW_MAX 96               /* encoded bytes of a number or date: 32 escapes */
#define DAYS_TO_2000 10957              /* from 1970-01-01, where date.c counts from */
#define DAY_US INT64_C(86400000000)
#define SECOND_US 1000000

enum binary_kind binary_kind(const char *type_oid)
{
	static const struct { unsigned long oid; enum binary_kind kind; } types[] = {
		{ 16, BINARY_BOOL }, { 20, BINARY_INT8 }, { 21, BINARY_INT2 }, { 23, BINARY_INT4 },
		{ 25, BINARY_TEXT }, { 1042, BINARY_TEXT }, { 1043, BINARY_TEXT },
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

/* At most 18 digits, with or without a minus: these cannot overflow. */
static ssize_t put_int(char *out, struct span text, size_t bytes)
{
	int64_t n = 0, most = bytes == 8 ? INT64_MAX : (INT64_C(1) << (8 * bytes - 1)) - 1;
	bool minus = text.n > 0 && text.p[0] == '-';

	if (text.n == minus || text.n > 18u + minus)
		return -1;
	for (size_t i = minus; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return -1;
		n = 10 * n + (text.p[i] - '0');
	}
	return n <= most ? put_number(out, minus ? -n : n, bytes) : -1;
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
	case BINARY_TEXT:
	case BINARY_NONE:
		break;
	}
	return -1;
}

/* Most need no decoding; only in a timestamptz can a + be a space. */
static ssize_t put_as_it_is(char *out, enum binary_kind kind, enum format format, struct span raw)
{
	if (format == FORMAT_URLENC)
		return kind == BINARY_TIMESTAMPTZ ? -1 : put_scalar(out, kind, raw, false);
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
