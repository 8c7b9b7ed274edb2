/*
 * The row grammar of pgq.logutriga: name=value&name&name=, names and values urlencoded.
 *
 * Nothing is copied to split a row: fields are slices of the event. A wanted value is then read
 * once, decoding it and escaping it for COPY in the same pass.
 */
#include <string.h>

#include "tdispatch.h"

bool urlenc_next(struct span *rest, struct span *name, struct span *value)
{
	const char *p = rest->p, *end = p + rest->n;

	while (p < end && *p == '&')
		p++;
	if (p == end)
		return false;
	const char *start = p, *equals = NULL;
	for (; p < end && *p != '&'; p++)
		if (*p == '=') {
			equals = p;
			p = memchr(p, '&', (size_t)(end - p));
			if (!p)
				p = end;
			break;
		}
	*name = (struct span){ start, (size_t)((equals ? equals : p) - start) };
	*value = equals ? (struct span){ equals + 1, (size_t)(p - equals - 1) } : (struct span){ NULL, 0 };
	*rest = (struct span){ p, (size_t)(end - p) };
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

/* The byte that the escape at p means; -1 for a bad one or NUL. */
static int unescape(const char *p, const char *end)
{
	if (end - p < 3)
		return -1;
	int high = hex_digit(p[1]), low = hex_digit(p[2]);
	return high < 0 || low < 0 || (high | low) == 0 ? -1 : high << 4 | low;
}

/* A letter where COPY's text format wants \letter for the byte; 0 where the byte stands. */
static const char copy_letter[256] = {
	['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\v'] = 'v', ['\f'] = 'f', ['\r'] = 'r', ['\\'] = '\\',
};

/* Bytes that do not stand for themselves in COPY text: to be decoded or escaped, or NUL. */
static const bool is_special[256] = {
	['\0'] = true, ['%'] = true, ['+'] = true,
	['\b'] = true, ['\t'] = true, ['\n'] = true, ['\v'] = true, ['\f'] = true, ['\r'] = true, ['\\'] = true,
};

static inline ssize_t decode(char *out, struct span raw, size_t *bad, bool escape)
{
	const char *p = raw.p, *end = p + raw.n;
	char *start = out;

	while (p < end) {
		unsigned char c = (unsigned char)*p;
		if (!is_special[c]) {
			*out++ = *p++;
			continue;
		}
		if (c == '%') {
			int byte = unescape(p, end);
			if (byte < 0)
				goto bad_escape;
			c = (unsigned char)byte;
			p += 3;
		} else if (c == 0) {
			goto bad_escape;
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
	return out - start;
bad_escape:
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
