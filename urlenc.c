/*
 * The row grammar of pgq.logutriga: name=value&name&name=, names and values urlencoded.
 *
 * Splitting a row copies nothing: fields are slices of the event. A wanted value is then decoded
 * and escaped for COPY in one pass.
 */
#include <string.h>

#include "urlenc.h"

/* The first c from p on, or end. */
static inline const char *find(const char *p, const char *end, char c)
{
	for (; end - p >= 8; p += 8) {
		uint64_t hit = word_zeros(word_load(p) ^ WORD_EACH((unsigned char)c));
		if (hit)
			return p + word_first(hit);
	}
	while (p < end && *p != c)
		p++;
	return p;
}

struct span urlenc_value(struct span *rest)
{
	const char *start = rest->p, *end = start + rest->n, *p = find(start, end, '&');

	*rest = (struct span){ p, (size_t)(end - p) };
	return (struct span){ start, (size_t)(p - start) };
}

bool urlenc_next(struct span *rest, struct span *name, struct span *value)
{
	const char *p = rest->p, *end = p + rest->n;

	while (p < end && *p == '&')
		p++;
	if (p == end)
		return false;
	const char *start = p;
	while (p < end && *p != '&' && *p != '=')
		p++;
	*name = (struct span){ start, (size_t)(p - start) };
	bool has_value = p < end && *p == '=';
	p += has_value;
	*rest = (struct span){ p, (size_t)(end - p) };
	*value = has_value ? urlenc_value(rest) : (struct span){ NULL, 0 };
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int urlenc_hex(const char *p)
{
	int high = hex_digit(p[0]), low = hex_digit(p[1]);

	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* The byte of the escape at p; -1: a bad one, or NUL. */
static int unescape(const char *p, const char *end)
{
	int byte = end - p < 3 ? -1 : urlenc_hex(p + 1);

	return byte == 0 ? -1 : byte;
}

/* The letter if COPY's text format wants \letter for the byte; 0: the byte itself. */
static const char copy_letter[256] = {
	['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\v'] = 'v', ['\f'] = 'f', ['\r'] = 'r',
	['\\'] = '\\',
};

/* Bytes to decode or to escape for COPY text, and NUL. */
static const bool is_special[256] = {
	['\0'] = true, ['%'] = true, ['+'] = true,
	['\b'] = true, ['\t'] = true, ['\n'] = true, ['\v'] = true, ['\f'] = true, ['\r'] = true,
	['\\'] = true,
};

/* 0x80 in each byte of x that is_special, except '+': '%', '\\' and below 0x20. */
static inline uint64_t special_bytes(uint64_t x)
{
	return word_zeros(x ^ WORD_EACH('%')) | word_zeros(x ^ WORD_EACH('\\')) |
		word_zeros(x & WORD_EACH(0xe0));
}

/* Copies whole words from p on until one holds a special byte; '+' becomes a space. */
static inline const char *copy_words(char **out, const char *p, const char *end)
{
	while (end - p >= 8) {
		uint64_t x = word_load(p), special = special_bytes(x);
		x ^= (word_zeros(x ^ WORD_EACH('+')) >> 7) * ('+' ^ ' ');
		memcpy(*out, &x, sizeof x);     /* the rest is overwritten later */
		size_t n = special ? word_first(special) : 8;
		*out += n;
		p += n;
		if (special)
			break;
	}
	return p;
}

static inline ssize_t decode(char *out, struct span raw, size_t *bad, bool escape)
{
	const char *p = raw.p, *end = p + raw.n;
	char *start = out;

	for (;;) {
		p = copy_words(&out, p, end);
		if (p == end)
			return out - start;
		unsigned char c = (unsigned char)*p;
		if (!is_special[c]) {
			*out++ = *p++;
			continue;
		}
		if (c == '%') {
			int byte = unescape(p, end);
			if (byte < 0)
				break;
			c = (unsigned char)byte;
			p += 3;
		} else if (c == 0) {
			break;
		} else {
			c = c == '+' ? ' ' : c;
			p++;
		}
		if (escape && copy_letter[c]) {
			*out++ = '\\';
			c = (unsigned char)copy_letter[c];
		}
		*out++ = (char)c;
	}
	*bad = (size_t)(p - raw.p);
	return -1;
}

ssize_t urlenc_decode(char *out, struct span raw, size_t *bad)
{
	return decode(out, raw, bad, false);
}

ssize_t urlenc_copy(char *out, struct span raw, size_t *bad)
{
	return decode(out, raw, bad, true);
}
